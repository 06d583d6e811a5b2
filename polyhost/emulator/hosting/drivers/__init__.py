"""Ways to start an instance's container: as a process, or by Docker."""
