"""From a model and a scene to a map file."""
