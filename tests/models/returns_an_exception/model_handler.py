"""Rejects a request as handlers do: returns an exception with its own status."""


class Teapot(Exception):
    status = 418
    phase = "decode"


def handle(data, context):
    return None if data is None else [Teapot("short and stout")]
