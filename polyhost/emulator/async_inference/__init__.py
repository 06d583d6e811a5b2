"""Asynchronous inference: a queue per endpoint, and what becomes of the invocations in it."""
