"""Benchmark datasets as the community distributes them, made into rasters that comix reads."""
