"""What lies on the ground: grids, rasters, windows, labels."""
