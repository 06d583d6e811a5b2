"""Helpers for tests: waiting with a deadline, real containers, fixture models, short directories."""
