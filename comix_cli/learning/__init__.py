"""From a labelled scene to a model file."""
