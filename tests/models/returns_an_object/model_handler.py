"""Returns an object that cannot be sent."""


def handle(data, context):
    return None if data is None else [object()]
