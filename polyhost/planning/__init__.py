"""Capacity planning: what a number of machines would do with a load, by simulation. Knows no containers."""
