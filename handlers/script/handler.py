"""A model's own inference.py: model_fn, input_fn, predict_fn and output_fn, or transform_fn, as in SageMaker's images.

The defaults of the script's framework stand in for functions that it does not define.
"""

from pathlib import Path
from typing import Any

from polyhost.events import get_logger
from polyhost.handlers import import_path, lookup, recognition
from polyhost.handlers.base import Handler, HandlerRequest, HandlerResponse, Source, in_form_of_request
from polyhost.handlers.body import encoders, media_types
from polyhost.handlers.body.decoders import text
from polyhost.handlers.body.media_types import CSV, JSON, MediaType
from polyhost.handlers.body.payload import Inputs
from polyhost.handlers.errors import BadModelError, BadScriptError, phase
from polyhost.handlers.script import answers as script_answers
from polyhost.handlers.script import framework as script_framework
from polyhost.handlers.script import functions as script_functions
from polyhost.handlers.script import model_parts
from polyhost.handlers.script.defaults import Defaults
from polyhost.handlers.script.functions import Function
from polyhost.handlers.settings import Settings

# Bodies that reach a script as str, as in SageMaker's toolkit (sagemaker_inference.content_types.UTF8_TYPES).
TEXTS = (JSON, CSV)

logger = get_logger(__name__)


class ScriptHandler(Handler):
    """Serves what the script's functions make of a request."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._script = ""
        self._functions: dict[str, Function] = {}
        self._framework: str | None = None
        self._defaults: Defaults = script_framework.defaults(None, Source(Path(), settings=self.settings))

    def load(self, source: Source) -> None:
        path = lookup.script_in(source.directory, source.settings)
        assert path is not None, "lookup chooses this handler for a folder with a script"
        self._script = path.name
        # Before the model's own modules come first on the path: one may have the name of a module that this imports.
        self._choose_defaults(path, source)
        import_path.put_first(path.parent, source.directory)
        self._functions = script_functions.load(path)
        self._call_at_load("pre_model_fn", source)
        self.model = self._load_model(source)
        self._call_at_load("model_warmup_fn", source, self.model)
        if not self._functions:
            names = ", ".join(script_functions.ARGUMENTS)
            logger.info("%s defines none of %s; the defaults of %s serve", self._script, names, self._framework)

    def check_default_accept(self) -> None:
        if not self._functions.keys() & {"output_fn", "transform_fn"}:
            super().check_default_accept()

    def predict(self, inputs: Inputs, request: HandlerRequest) -> Any:
        return self._predict(inputs, request)

    def respond(self, request: HandlerRequest) -> HandlerResponse:
        if "transform_fn" in self._functions:
            return self._transformed(request)
        accept = self._accept(request)
        with phase("decode"):
            data = self._input(request)
        with phase("predict"):
            prediction = self._predict(data, request)
            if not self._functions.keys() & {"predict_fn", "output_fn"}:
                prediction = self._defaults.prediction(prediction, data)
        with phase("encode"):
            return self._output(prediction, data, accept, request)

    def _choose_defaults(self, path: Path, source: Source) -> None:
        functions = script_functions.defined(path)
        if script_framework.needed(functions):
            self._use_defaults(script_framework.by_archive(path, source), source, required="model_fn" not in functions)

    def _use_defaults(self, framework: str | None, source: Source, *, required: bool = False) -> None:
        try:
            self._defaults = script_framework.defaults(framework, source)
            self._framework = framework
        except ImportError as error:
            if required:
                raise
            logger.warning("%s is not served by the defaults of %s: %s", self._script, framework, error)

    def _call_at_load(self, name: str, source: Source, *arguments: Any) -> None:
        if name in self._functions:
            self._functions[name](str(source.directory), *arguments, source.context)

    def _load_model(self, source: Source) -> Any:
        """Return the model; one that cannot be called by default fails here, and not at the first request."""
        predicts = not self._functions.keys() & {"predict_fn", "transform_fn"}
        if "model_fn" not in self._functions:
            self._check_files(source)
            seen = not predicts or "model_warmup_fn" in self._functions
            return self._defaults.load(source, seen=seen, predicts=predicts)
        model = self._functions["model_fn"](str(source.directory), source.context)
        if script_framework.needed(set(self._functions)):
            framework = model_parts.framework_of(model) or self._framework
            if framework != self._framework:
                self._use_defaults(framework, source)
            self._defaults.use_model(model, f"{self._script}'s model_fn", source, predicts=predicts)
        return model

    def _check_files(self, source: Source) -> None:
        if recognition.in_folder(source.directory) and self._framework is not None:
            return
        try:
            lookup.framework_by_files(source.directory, source.settings)
        except BadModelError as error:
            raise BadScriptError(f"{self._script} has no model_fn, and {error}") from error

    def _transformed(self, request: HandlerRequest) -> HandlerResponse:
        accept = media_types.preferred(request.accept, self.settings.default_accept)
        with phase("predict"):
            body, content_type = _body_and_type(request)
            returned = self._functions["transform_fn"](self.model, body, content_type, accept, request.context)
        with phase("encode"):
            return script_answers.response(returned, accept, "transform_fn")

    def _accept(self, request: HandlerRequest) -> str:
        """Return the response's media type. A script's own output_fn may write types that we do not."""
        if "output_fn" in self._functions:
            return media_types.preferred(request.accept, self.settings.default_accept)
        return media_types.choose(request.accept, media_types.ARRAYS, self.settings.default_accept)

    def _input(self, request: HandlerRequest) -> Any:
        if "input_fn" in self._functions:
            return self._functions["input_fn"](*_body_and_type(request), request.context)
        return self._defaults.data(request) if "predict_fn" in self._functions else self._defaults.inputs(request)

    def _predict(self, data: Any, request: HandlerRequest) -> Any:
        if "predict_fn" in self._functions:
            return self._functions["predict_fn"](data, self.model, request.context)
        return self._defaults.predict(data, request)

    def _output(self, prediction: Any, data: Any, accept: str, request: HandlerRequest) -> HandlerResponse:
        if "output_fn" in self._functions:
            returned = self._functions["output_fn"](prediction, accept, request.context)
            return script_answers.response(returned, accept, "output_fn")
        if "predict_fn" in self._functions:
            return HandlerResponse(encoders.encode(self._defaults.arrays(prediction), accept), accept)
        return HandlerResponse(encoders.encode(in_form_of_request(prediction, data, accept), accept), accept)


def _body_and_type(request: HandlerRequest) -> tuple[str | bytes, str]:
    """Return body and type, as sent: a script may need its parameters, such as multipart/form-data's boundary."""
    content_type = request.content_type or JSON
    media_type = MediaType.parse(content_type)
    if media_type.name in TEXTS:
        return text(request.body, media_type), content_type
    return bytes(request.body), content_type
