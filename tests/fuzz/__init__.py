"""Seeded inputs that mean harm, against everything that takes input of strangers.

`test_short.py` runs a little of it with a fixed seed, `scripts/fuzz` as much as it is given time for.
"""
