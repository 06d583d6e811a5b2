"""Functions and APIs as the dashboard shows them."""

from collections.abc import Callable
from typing import Any

from polyhost.emulator.functions.service import Functions
from polyhost.emulator.functions.spec import latest_specs
from polyhost.emulator.gateway.addresses import ApiAddresses


def function_states(functions: Functions, addresses: ApiAddresses) -> Callable[[], dict[str, Any]]:
    """Return what describes functions with their last calls, and APIs with their addresses, in JSON."""

    def describe() -> dict[str, Any]:
        urls = {(item["region"], item["function"]): item["url"] for item in addresses.function_urls()}
        return {
            "functions": [
                {
                    "name": spec.name,
                    "region": spec.region,
                    "runtime": spec.runtime or spec.package_type,
                    "memory_mb": spec.memory_mb,
                    "url": urls.get((spec.region, spec.name)),
                    "last": functions.last_call(spec.region, spec.name),
                }
                for spec in latest_specs()
            ],
            "apis": addresses.stages(),
        }

    return describe
