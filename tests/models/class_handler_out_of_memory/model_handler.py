"""A class whose initialize asks for more memory than there is."""


class Greedy:
    def initialize(self, context):
        self.weights = bytearray(1 << 60)

    def handle(self, data, context):
        return ["never"]
