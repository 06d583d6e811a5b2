"""The peers' services, run in the peers' own environments: nothing here imports polyhost."""
