"""moto's objects as bytes. What is read back may name moto's classes and plain data only: it cannot run code."""

import copyreg
import importlib
import io
import pickle
from typing import Any

from moto.cloudwatch.models import Alarm
from moto.core.base_backend import BaseBackend
from moto.iam.models import AWSManagedPolicy
from moto.sns.models import Topic

from polyhost.emulator.alarms.service import EVALUATED
from polyhost.emulator.moto_services.managed_policies import provide_policy

_DATA = frozenset(
    (
        *(("builtins", name) for name in ("bytearray", "complex", "frozenset", "set")),
        *(("collections", name) for name in ("OrderedDict", "defaultdict", "deque")),
        *(("datetime", name) for name in ("date", "datetime", "timedelta", "timezone")),
        ("polyhost.emulator.alarms.history", "HistoryItem"),
        ("polyhost.emulator.autoscaling.activities", "ScalingActivity"),
        ("requests.structures", "CaseInsensitiveDict"),
        ("uuid", "UUID"),
    )
)
_PACKAGES = (
    *("moto.apigateway.", "moto.apigatewayv2.", "moto.applicationautoscaling.", "moto.awslambda."),
    *("moto.cloudwatch.", "moto.core.", "moto.iam.", "moto.s3.", "moto.sns.", "moto.sqs.", "moto.utilities."),
)
_ATTEMPTS = 20


def dump(content: Any) -> bytes:
    """Return the content as bytes. References to a service's backend and to AWS's policies become names."""
    for attempt in range(_ATTEMPTS):
        file = io.BytesIO()
        try:
            _Pickler(file, protocol=5).dump(content)
        except RuntimeError:  # another request changed a dictionary meanwhile, and will save it again
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            break
    return file.getvalue()


def load(content: bytes, backend: BaseBackend) -> Any:
    """Return what `dump` was given. Raises pickle.UnpicklingError for content that nothing of ours has written."""
    return _Unpickler(content, backend).load()


class _Pickler(pickle.Pickler):
    def persistent_id(self, item: Any) -> tuple[str, ...] | None:
        if isinstance(item, BaseBackend):
            return ("backend",)
        if isinstance(item, AWSManagedPolicy):
            return ("policy", item.arn)
        return None

    def reducer_override(self, item: Any) -> Any:
        if type(item) is Topic:
            # moto keeps what was published, for tests that look into it: that would grow without end.
            return copyreg.__newobj__, (Topic,), {**vars(item), "sent_notifications": []}  # type: ignore[attr-defined]
        if type(item) is Alarm:
            saved = {name: value for name, value in vars(item).items() if name not in EVALUATED}
            # moto's history grows without end, and nothing reads it.
            return copyreg.__newobj__, (Alarm,), saved | {"history": []}  # type: ignore[attr-defined]
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, backend: Any) -> None:
        super().__init__(io.BytesIO(content))
        self._backend = backend

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _DATA or module.startswith(_PACKAGES):
            found = vars(importlib.import_module(module)).get(name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"unexpected {module}.{name}")

    def persistent_load(self, reference: Any) -> Any:
        if reference == ("backend",):
            return self._backend
        kind, arn = reference
        if kind == "policy":
            provide_policy(self._backend, arn)
            if arn in self._backend.managed_policies:
                return self._backend.managed_policies[arn]
        raise pickle.UnpicklingError(f"unknown {kind} {arn}; moto's release had it when the state was saved")
