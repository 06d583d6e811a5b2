"""Fixture models, one small one per behaviour, each named for what it does."""
