"""Refuses one item of a batch as handlers do, with a status of its own."""


class Teapot(Exception):
    status = 418
    phase = "decode"


def handle(data, context):
    return None if data is None else [Teapot("short and stout")]
