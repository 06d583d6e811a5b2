"""Returns one response instead of a list."""


def handle(data, context):
    return None if data is None else "a response"
