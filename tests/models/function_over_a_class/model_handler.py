"""A service class with initialize and handle, and a function over one instance of it: the usual shape for MMS."""


class ModelHandler:
    def __init__(self):
        self.initialized = False
        self.model_dir = None

    def initialize(self, context):
        self.model_dir = context.system_properties["model_dir"]
        self.initialized = True

    def preprocess(self, request):
        return [item["body"] for item in request]

    def inference(self, inputs):
        return [bytes(item).upper() for item in inputs]

    def handle(self, data, context):
        return self.inference(self.preprocess(data))


_service = ModelHandler()


def handle(data, context):
    if not _service.initialized:
        _service.initialize(context)
    if data is None:
        return None
    return _service.handle(data, context)
