"""A model's own inference.py, and SageMaker's defaults for what it leaves out."""
