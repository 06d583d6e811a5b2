"""What `--state` keeps of functions and APIs: moto's records of them, in a file of their own."""

import pickle
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.errors import StartError
from polyhost.emulator.moto_services.state import pickles
from polyhost.emulator.moto_services.state.records import Change, Records

_FUNCTION, _LAYERS, _MAPPINGS = "function", "layers", "event source mappings"
# Of the backends of a region, by the name of moto's service.
_GATEWAYS = {
    "apigateway": ("apis", "keys", "usage_plans", "usage_plan_keys"),
    "apigatewayv2": ("apis", "tagger"),
}


class SavedRecords:
    """Compares moto's records with the file, and writes what differs. Its methods block."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._lock = threading.Lock()
        self._functions: set[tuple[str, ...]] = set()

    def restore(self) -> None:
        """Give moto what was saved."""
        from moto.awslambda.models import lambda_backends

        for (region,), content in self._records.load(_LAYERS):
            backend: Any = lambda_backends[ACCOUNT][region]
            backend._layers._layers.update(pickles.load(content, backend))
            for layer in backend._layers._layers.values():
                backend._layers._arns.update({version.arn: version for version in layer.layer_versions.values()})
        for key, content in self._records.load(_FUNCTION):
            self._functions.add(key)
            _restore_function(lambda_backends[ACCOUNT][key[0]], key[1], content)
        for (region,), content in self._records.load(_MAPPINGS):
            owner: Any = lambda_backends[ACCOUNT][region]
            owner._event_source_mappings.update(pickles.load(content, owner))
        for service in _GATEWAYS:
            for (region,), content in self._records.load(service):
                gateway = _gateways(service)[ACCOUNT][region]
                vars(gateway).update(pickles.load(content, gateway))

    def save(self) -> None:
        """Write what has changed. Raises sqlite3.Error."""
        from moto.awslambda.models import lambda_backends

        with self._lock:
            changes: list[Change] = []
            present: set[tuple[str, ...]] = set()
            backends: list[Any] = list(lambda_backends.iter_backends())
            for _, region, backend in backends:
                changes.append(Change(_LAYERS, (region,), pickles.dump(backend._layers._layers)))
                changes.append(Change(_MAPPINGS, (region,), pickles.dump(backend._event_source_mappings)))
                for name in list(backend._lambdas._functions):
                    present.add((region, name))
                    changes.append(Change(_FUNCTION, (region, name), _function_content(backend, name)))
            for service, attributes in _GATEWAYS.items():
                for _, region, gateway in list(_gateways(service).iter_backends()):
                    content = pickles.dump({name: getattr(gateway, name) for name in attributes})
                    changes.append(Change(service, (region,), content))
            gone = [Change(_FUNCTION, key, None) for key in self._functions - present]
            self._records.write([*changes, *gone])
            self._functions = present


@contextmanager
def saved_records(folder: Path | None) -> Iterator[SavedRecords | None]:
    """Restore what a state folder has of functions and APIs, if there is one. Raises StartError."""
    if folder is None:
        yield None
        return
    records = Records(folder / "functions.sqlite")
    try:
        saved = SavedRecords(records)
        try:
            saved.restore()
        except (sqlite3.Error, pickle.UnpicklingError, AttributeError, LookupError, TypeError) as error:
            raise StartError(
                f"cannot read the saved functions in {folder} ({error!r}); restore its files, or choose another --state"
            ) from error
        yield saved
    finally:
        records.close()


def _gateways(service: str) -> Any:
    from moto.apigateway.models import apigateway_backends
    from moto.apigatewayv2.models import apigatewayv2_backends

    return {"apigateway": apigateway_backends, "apigatewayv2": apigatewayv2_backends}[service]


def _function_content(backend: Any, name: str) -> bytes:
    storage = backend._lambdas
    group = storage._functions[name]
    arn = f"arn:aws:lambda:{backend.region_name}:{ACCOUNT}:function:{name}"
    return pickles.dump({"group": group, "aliases": dict(storage._aliases.get(arn, {}))})


def _restore_function(backend: Any, name: str, content: bytes) -> None:
    from moto.logs.models import logs_backends

    storage, saved = backend._lambdas, pickles.load(content, backend)
    storage._functions[name] = saved["group"]
    arn = f"arn:aws:lambda:{backend.region_name}:{ACCOUNT}:function:{name}"
    storage._aliases[arn] = saved["aliases"]
    for function in (saved["group"]["latest"], *saved["group"]["versions"]):
        if function is not None:
            function.logs_backend = logs_backends[ACCOUNT][backend.region_name]
            storage._arns[function.function_arn] = function
