"""Batch transform: jobs that send the objects of a prefix through a model and write its responses (developer guide)."""
