"""Raises when it is imported."""

raise ValueError("this script never works")
