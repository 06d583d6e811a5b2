"""The platform's part, played by the container: models of a store are fetched, loaded and evicted as clients ask."""
