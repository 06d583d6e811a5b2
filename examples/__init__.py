"""Runnable examples; `scripts/demo` runs the largest of them."""
