"""The dashboard: the web page that the emulator and a container with a model store serve, and what both say for it."""
