"""Attacks of a model on its neighbours and on the container. The attack's success is the failure of its test."""
