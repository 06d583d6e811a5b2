"""Hundreds of models behind one SageMaker multi-model endpoint."""

__version__ = "0.2.0"
