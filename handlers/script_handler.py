"""A model's own inference.py: model_fn, input_fn, predict_fn and output_fn, or transform_fn, as in SageMaker's images.

The handler of the archive's framework stands in for functions that the script does not define.
"""

import ast
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy

from polyhost.handlers import decoders, encoders, frameworks, images, import_path, lookup, media_types
from polyhost.handlers.base import Handler, HandlerRequest, HandlerResponse, Source, in_form_of_request
from polyhost.handlers.errors import BadModelError, BadScriptError, WrongAnswerError, phase
from polyhost.handlers.media_types import CSV, JSON, MediaType
from polyhost.handlers.payload import Inputs, Picture, Rows, rows_from
from polyhost.handlers.settings import Settings

Function = Callable[..., Any]

# Each may take `context` as one argument more.
_ARGUMENTS = {
    "model_fn": ("model_dir",),
    "input_fn": ("body", "content_type"),
    "predict_fn": ("data", "model"),
    "output_fn": ("prediction", "accept"),
    "transform_fn": ("model", "body", "content_type", "accept"),
    "pre_model_fn": ("model_dir",),
    "model_warmup_fn": ("model_dir", "model"),
}
# Bodies that reach a script as str, as in SageMaker's toolkit (sagemaker_inference.content_types.UTF8_TYPES).
TEXTS = (JSON, CSV)
_REPLACED_BY_TRANSFORM = ("input_fn", "predict_fn", "output_fn")


class ScriptHandler(Handler):
    """Serves what the script's functions make of a request."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._script = ""
        self._functions: dict[str, Function] = {}
        self._fallback: Handler | None = None
        self._default_predict: Function | None = None

    def load(self, source: Source) -> None:
        path = lookup.script_in(source.directory, source.settings)
        assert path is not None, "lookup chooses this handler for a folder with a script"
        self._script = path.name
        # Before the model's own modules come first on the path: one may have the name of a module that this imports.
        self._fallback = _fallback(path, source)
        import_path.put_first(path.parent, source.directory)
        self._functions = _functions(_imported(path), path)
        self._call_at_load("pre_model_fn", source)
        self.model = self._load_model(source)
        self._default_predict = self._choose_predict(source)
        self._call_at_load("model_warmup_fn", source, self.model)

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
        with phase("encode"):
            return self._output(prediction, data, accept, request)

    def _call_at_load(self, name: str, source: Source, *arguments: Any) -> None:
        if name in self._functions:
            self._functions[name](str(source.directory), *arguments, source.context)

    def _load_model(self, source: Source) -> Any:
        if "model_fn" in self._functions:
            return self._functions["model_fn"](str(source.directory), source.context)
        if self._fallback is None:
            raise BadScriptError(f"{self._script} has no model_fn, and {_why_no_fallback(source)}")
        self._fallback.load(source)
        return self._fallback.model

    def _choose_predict(self, source: Source) -> Function | None:
        """Return what predicts if the script does not; at load, so that a model that cannot be called fails there."""
        if "predict_fn" in self._functions or "transform_fn" in self._functions:
            return None
        if self._fallback is not None:
            if "model_fn" in self._functions:
                self._fallback.use_model(self.model, f"{self._script}'s model_fn", source)
            return self._fallback.predict
        function = getattr(self.model, "predict", self.model)
        if not callable(function):
            raise BadScriptError(
                f"{self._script} has no predict_fn, and the {type(self.model).__name__} that its model_fn returns "
                "has no predict method and cannot be called"
            )
        return lambda inputs, _: function(_values(inputs))

    def _transformed(self, request: HandlerRequest) -> HandlerResponse:
        accept = media_types.preferred(request.accept, self.settings.default_accept)
        with phase("predict"):
            body, content_type = _body_and_type(request)
            returned = self._functions["transform_fn"](self.model, body, content_type, accept, request.context)
        with phase("encode"):
            return _response(returned, accept, "transform_fn")

    def _accept(self, request: HandlerRequest) -> str:
        """Return the response's media type. A script's own output_fn may write types that we do not."""
        if "output_fn" in self._functions:
            return media_types.preferred(request.accept, self.settings.default_accept)
        return media_types.choose(request.accept, media_types.ARRAYS, self.settings.default_accept)

    def _input(self, request: HandlerRequest) -> Any:
        if "input_fn" in self._functions:
            return self._functions["input_fn"](*_body_and_type(request), request.context)
        return decoders.decode(request.body, request.content_type)

    def _predict(self, data: Any, request: HandlerRequest) -> Any:
        if self._default_predict is not None:
            return self._default_predict(_as_inputs(data), request)
        return self._functions["predict_fn"](_plain(data), self.model, request.context)

    def _output(self, prediction: Any, data: Any, accept: str, request: HandlerRequest) -> HandlerResponse:
        if "output_fn" in self._functions:
            return _response(self._functions["output_fn"](prediction, accept, request.context), accept, "output_fn")
        whole = prediction if self._default_predict is None else in_form_of_request(prediction, data, accept)
        return HandlerResponse(encoders.encode(whole, accept), accept)


def _fallback(path: Path, source: Source) -> Handler | None:
    """Return the handler of the archive's framework, if the script leaves something for it to do."""
    defined = set(_defined(_parsed(path)))
    if "model_fn" in defined and defined.intersection(("predict_fn", "transform_fn")):
        return None
    files = lookup.frameworks_in(source.directory)
    framework = files[0] if len(files) == 1 else lookup.framework_by_imports(path)
    if framework is None:
        return None
    handler: Handler = frameworks.resolve(lookup.handler_class(framework))(source.settings)
    return handler


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), path.name)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise BadScriptError(f"{path.name}, line {error.lineno}: {error.msg}: {line!r}") from error
    except ValueError as error:
        raise BadScriptError(f"{path.name} is not Python source: {error}") from error


def _defined(tree: ast.Module) -> Iterator[str]:
    """Return the names that a module's source binds at its top level."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name):
                yield name
            case ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _imported(path: Path) -> ModuleType:
    """Import the script as the module that its file is named for: pickles may refer to its classes."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise BadScriptError(
            f"{path.name} needs the module {error.name!r}, which is neither in this image nor in the archive, "
            "at its root or under code/"
        ) from error
    return module


def _functions(module: ModuleType, path: Path) -> dict[str, Function]:
    found = {name: getattr(module, name) for name in _ARGUMENTS if hasattr(module, name)}
    if not found:
        raise BadScriptError(f"{path.name} defines none of {', '.join(_ARGUMENTS)}")
    doubled = [name for name in _REPLACED_BY_TRANSFORM if name in found]
    if "transform_fn" in found and doubled:
        raise BadScriptError(f"{path.name} defines transform_fn, which replaces {', '.join(doubled)}: keep one")
    return {name: _with_context(function, name, path) for name, function in found.items()}


def _with_context(function: Any, name: str, path: Path) -> Function:
    """Wrap the function in one that takes the context last, whether the function does or not."""
    expected = _ARGUMENTS[name]
    if not callable(function):
        raise BadScriptError(f"{path.name}: {name} is a {type(function).__name__}, not a function")
    found: Function = function
    signature = inspect.signature(found)
    if _takes_context(signature, len(expected)):
        return found
    if _takes(signature, len(expected)):
        return lambda *arguments: found(*arguments[:-1])
    raise BadScriptError(
        f"{path.name}: {name}{signature} cannot be called; define {name}({', '.join(expected)}) "
        f"or {name}({', '.join(expected)}, context)"
    )


def _takes_context(signature: inspect.Signature, count: int) -> bool:
    """Return whether there is one argument more; one with a default is the script's own unless it is named context."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [parameter for parameter in signature.parameters.values() if parameter.kind in kinds]
    if len(positional) <= count or not _takes(signature, count + 1):
        return False
    extra = positional[count]
    return extra.name == "context" or extra.default is inspect.Parameter.empty


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _body_and_type(request: HandlerRequest) -> tuple[str | bytes, str]:
    """Return body and type, as sent: a script may need its parameters, such as multipart/form-data's boundary."""
    content_type = request.content_type or JSON
    media_type = MediaType.parse(content_type)
    if media_type.name in TEXTS:
        return decoders.text(request.body, media_type), content_type
    return bytes(request.body), content_type


def _as_inputs(data: Any) -> Inputs:
    """Convert what a script's input_fn returned to what the framework's handler takes."""
    if isinstance(data, Rows | Picture):
        return data
    return rows_from(data) if isinstance(data, dict | list) else Rows(data)


def _plain(data: Any) -> Any:
    """Convert decoded inputs to what a script's predict_fn takes: arrays, or objects if the body held objects."""
    if not isinstance(data, Rows | Picture):
        return data
    if isinstance(data, Picture) or data.names is None:
        return _values(data)
    objects = [dict(zip(data.names, row, strict=True)) for row in data.values]
    return objects[0] if data.single else objects


def _values(inputs: Inputs) -> Any:
    if isinstance(inputs, Picture):
        return images.pixels(inputs)
    try:
        return numpy.asarray(inputs.values)
    except ValueError:
        return inputs.values  # rows of unlike lengths: the script decides


def _response(returned: Any, accept: str, function: str) -> HandlerResponse:
    """Serialise anything that is not text, bytes or an iterator of them as JSON, as MMS does."""
    body, content_type = returned, None
    if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], str):
        body, content_type = returned
    if isinstance(body, bytearray):
        body = bytes(body)
    if isinstance(body, str | bytes | Iterator):
        return HandlerResponse(body, content_type or accept)
    if body is None:
        raise WrongAnswerError(
            f"{function} returned None; it must return the body, or yield it in chunks, or return a pair of the body "
            "and its content type"
        )
    return HandlerResponse(encoders.encode(body, JSON), content_type or JSON)


def _why_no_fallback(source: Source) -> str:
    try:
        framework = lookup.framework_by_files(source.directory, source.settings)
    except BadModelError as error:
        return str(error)
    return f"the handler of {framework}, which the archive's files are for, was not loaded"
