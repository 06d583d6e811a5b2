"""Answers with the size of the batch that a call went in; fails for the body "bad" alone."""


class Batching:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return [ValueError("a bad one") if bytes(item["body"]) == b"bad" else str(len(data)) for item in data]
