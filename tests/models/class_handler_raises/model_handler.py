"""A class whose initialize fails: MMS's own loader would swallow that and serve the model."""


class Broken:
    def initialize(self, context):
        raise ValueError("this class has no weights")

    def handle(self, data, context):
        return ["never"]
