"""Returns the size of the request's batch; fails for the body "bad" only."""


class Batching:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return [ValueError("a bad one") if bytes(item["body"]) == b"bad" else str(len(data)) for item in data]
