"""Answers with the bytes that it got."""


def handle(data, context):
    return None if data is None else [bytes(item["body"]) for item in data]
