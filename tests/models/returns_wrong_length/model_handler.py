"""Returns two items for one request."""


def handle(data, context):
    return None if data is None else ["one", "two"]
