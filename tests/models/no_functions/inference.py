"""A script without any of the functions that make a model."""

THRESHOLD = 0.5
