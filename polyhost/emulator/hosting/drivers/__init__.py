"""How an instance's container is started: one module per way."""
