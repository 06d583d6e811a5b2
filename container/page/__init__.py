"""The dashboard of a container with a model store (POLYHOST_PAGE): read-only."""
