"""Returns the body byte for byte."""


def handle(data, context):
    return None if data is None else [bytes(item["body"]) for item in data]
