"""SageMaker's control plane: one module per resource, and a dispatcher of operations to them."""
