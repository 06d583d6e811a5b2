"""The stock stack, run by path in an environment of its own: nothing here imports polyhost."""
