"""Runnable examples; `scripts/demo` plays them all together."""
