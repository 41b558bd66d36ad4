"""A coarse hyperspectral image and a fine optical one become one that is sharp in both."""
