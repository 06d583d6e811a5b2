"""scikit-learn: any estimator or pipeline that joblib or pickle wrote."""

import re
import warnings
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy
import pandas
import sklearn
from sklearn.exceptions import InconsistentVersionWarning

from polyhost.events import get_logger
from polyhost.handlers import frameworks, import_path, model_files
from polyhost.handlers.base import HandlerRequest, Source
from polyhost.handlers.batching import BatchingHandler
from polyhost.handlers.body import images
from polyhost.handlers.body.payload import Inputs, Picture, Rows
from polyhost.handlers.errors import BadBodyError, BadModelError, UnsuitableMediaTypeError
from polyhost.handlers.script import main_module
from polyhost.handlers.sklearn.estimator_inputs import EstimatorInputs

logger = get_logger(__name__)

# Where a pickle keeps the version, followed by a pickle opcode or two and the text of the version itself.
_VERSION_IN_PICKLE = re.compile(rb"_sklearn_version\W{1,8}?[^\d.]{0,4}(\d+\.\d+[\w.]*)")
_OUTPUTS = ("predictions", "probabilities")


class SklearnHandler(BatchingHandler):
    """Serves an estimator; the custom attribute `output` chooses predictions or probabilities."""

    def load(self, source: Source) -> None:
        model, origin = self.read(source)
        self.use_model(model, origin, source)

    def read(self, source: Source) -> tuple[Any, str]:
        """Return what the archive's file holds, and the file's name."""
        path = model_files.only_match(source.directory, frameworks.named("sklearn").files)
        # A pickle may refer to modules of the archive's own.
        import_path.put_first(source.directory / "code", source.directory)
        return _unpickled(path), path.name

    def use_model(self, model: Any, origin: str, source: Source) -> None:
        if not hasattr(model, "predict"):
            raise BadModelError(
                f"{origin} gives a {type(model).__name__}, which has no predict method; "
                "save the estimator itself, or add an inference.py with a predict_fn"
            )
        self.model = model
        self._inputs = EstimatorInputs(model)
        self.expected = self._inputs.expected

    def variant(self, request: HandlerRequest, inputs: Inputs) -> str:
        output = request.options.get("output", _OUTPUTS[0])
        if output not in _OUTPUTS:
            raise BadBodyError(f"the custom attribute output={output} is unknown; use one of {', '.join(_OUTPUTS)}")
        if output == "probabilities" and not hasattr(self.model, "predict_proba"):
            raise BadBodyError(f"{type(self.model).__name__} gives no probabilities; ask for output=predictions")
        return output

    def features(self, inputs: Inputs) -> Any:
        return self._pixels(inputs) if isinstance(inputs, Picture) else self._inputs.features(inputs)

    def forward(self, features: Any, variant: Hashable) -> Any:
        method = self.model.predict if variant == "predictions" else self.model.predict_proba
        try:
            return method(features)
        except (ValueError, TypeError) as error:
            # How scikit-learn reports the wrong kind of data.
            text = self._inputs.text_of_unknown_columns(features)
            raise BadBodyError(f"{type(self.model).__name__} rejected the input: {error}{text}") from error

    def batch_key(self, features: Any) -> Hashable:
        if isinstance(features, pandas.DataFrame):
            return tuple(features.columns), tuple(features.dtypes)
        return super().batch_key(features)

    def join(self, parts: Sequence[Any]) -> Any:
        if isinstance(parts[0], pandas.DataFrame):
            return pandas.concat(parts, ignore_index=True)
        return super().join(parts)

    def _pixels(self, picture: Picture) -> Any:
        width, height = picture.image.size
        expected = self._inputs.count
        if expected != width * height:
            raise UnsuitableMediaTypeError(
                f"an image of {width} x {height} = {width * height} pixels does not fit "
                f"{type(self.model).__name__}, which takes {expected or 'no fixed number of'} features"
            )
        return self._inputs.features(Rows(images.grey_pixels(picture).reshape(1, -1).astype(numpy.float64)))


def _unpickled(path: Path) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return joblib.load(path)
        except (MemoryError, OSError):
            raise
        except Exception as error:
            raise BadModelError(_load_error_text(path, error, caught)) from error
        finally:
            _log(path, caught)


def _log(path: Path, caught: list[warnings.WarningMessage]) -> None:
    """Log each warning once: a forest gives the same one for every tree."""
    for text in dict.fromkeys(str(entry.message) for entry in caught):
        logger.warning("%s: %s", path.name, text)


def _load_error_text(path: Path, error: Exception, caught: list[warnings.WarningMessage]) -> str:
    running = sklearn.__version__
    pickled = _pickled_version(path, caught)
    reason = f"{path.name} cannot be loaded: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        reason += f"; it needs the module {error.name!r}: put it into the archive, at the root or under code/"
    elif isinstance(error, AttributeError) and main_module.REMEDY not in str(error):
        reason += "; it needs a class that is missing: define it in a module of the archive, not in a notebook"
    if pickled != running:
        reason += f"; it was saved with scikit-learn {pickled or 'of unknown version'}, this is {running}"
    return reason


def _pickled_version(path: Path, caught: list[warnings.WarningMessage]) -> str | None:
    for entry in caught:
        if isinstance(entry.message, InconsistentVersionWarning):
            return str(entry.message.original_sklearn_version)
    found = _VERSION_IN_PICKLE.search(path.read_bytes())
    return found[1].decode() if found else None
