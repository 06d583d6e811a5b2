"""Stand-ins for the Python packages of SageMaker's own images, as far as scripts for serving import them.

A script that was written for one of those images imports helpers of it, such as `sagemaker_containers.beta.framework`.
Where the package is not installed and the archive has no module of its name, a module here takes its place.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_FRAMEWORK = "sagemaker_containers.beta.framework"
_XGBOOST = "sagemaker_xgboost_container"
_HUGGING_FACE = "sagemaker_huggingface_inference_toolkit"

# Each module that can be imported, and the module here whose names it has. Those without one are packages, or are
# imported by scripts which do not use them.
_MODULES: dict[str, str | None] = {
    "sagemaker_containers": None,
    "sagemaker_containers._content_types": "content_types",
    "sagemaker_containers._encoders": "encoders",
    "sagemaker_containers._errors": "errors",
    "sagemaker_containers._worker": "worker",
    "sagemaker_containers.beta": None,
    _FRAMEWORK: None,
    f"{_FRAMEWORK}.content_types": "content_types",
    f"{_FRAMEWORK}.encoders": "encoders",
    f"{_FRAMEWORK}.errors": "errors",
    f"{_FRAMEWORK}.worker": "worker",
    f"{_FRAMEWORK}.env": None,
    f"{_FRAMEWORK}.modules": None,
    f"{_FRAMEWORK}.transformer": None,
    _XGBOOST: None,
    f"{_XGBOOST}.encoder": "xgboost_encoder",
    _HUGGING_FACE: None,
    f"{_HUGGING_FACE}.content_types": "content_types",
    f"{_HUGGING_FACE}.decoder_encoder": "huggingface_encoder",
}
_REMEDIES = {
    f"{_FRAMEWORK}.env": "model_fn is given the model's folder; os.environ has the container's variables",
    f"{_FRAMEWORK}.modules": "put modules into the archive beside the script, and import them by their names",
    f"{_FRAMEWORK}.transformer": "define model_fn, input_fn, predict_fn and output_fn; what is left out has a default",
    "sagemaker_containers": "what an inference.py needs is there: content_types, encoders, errors, worker.Response",
    "sagemaker_training": "training scripts need it, serving does not: move what inference.py needs to another module",
    "sagemaker_algorithm_toolkit": "training needs it, serving does not",
    "sagemaker_sklearn_container": "leave input_fn, predict_fn or output_fn out to get its default",
    "sagemaker_pytorch_serving_container": "leave input_fn, predict_fn or output_fn out to get its default",
    "sagemaker_mxnet_serving_container": "leave input_fn, predict_fn or output_fn out to get its default",
    _XGBOOST: "what an inference.py needs is there: encoder; for the rest use xgboost itself",
    _HUGGING_FACE: "what an inference.py needs is there: content_types, decoder_encoder; for the rest use transformers",
    "sagemaker": "the SageMaker SDK is for clients of an endpoint, serving does not need it",
}


class NotOfferedError(ImportError):
    """A stand-in does not have the name; the message says what to write instead."""


class StandIn(ModuleType):
    """A module in place of one of SageMaker's own."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # which modules are asked for by Python's own machinery
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        full = f"{self.__name__}.{name}"
        if full in _MODULES:
            return importlib.import_module(full)
        raise NotOfferedError(f"{full} does not exist here{remedy(full)}", name=self.__name__)


class Finder(MetaPathFinder, Loader):
    """Finds and makes the stand-ins."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _MODULES:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin="polyhost", is_package=_MODULES[fullname] is None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if source := _MODULES[module.__name__]:
            names = vars(importlib.import_module(f"{__name__}.{source}"))
            vars(module).update({name: value for name, value in names.items() if not name.startswith("_")})


def install() -> None:
    """Offer the stand-ins to this process's imports, behind everything else."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.append(Finder())


def remedy(module: str | None) -> str:
    """Return what to write instead of a module of SageMaker's own, or nothing for any other."""
    while module:
        if module in _REMEDIES:
            return f": {_REMEDIES[module]}"
        module = module.rpartition(".")[0]
    return ""
