"""A rendered pod, as the kubelet would start its container: variables with their values, and mounts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.deploy.kubernetes.chart import Manifest, only

# What the kubelet fills in for secrets.
SECRETS = {
    "token": {"token": "a-token-of-thirty-two-characters"},
    "minio": {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
}


@dataclass(frozen=True)
class Pod:
    """The pod of a Deployment, and its one container."""

    spec: dict[str, Any]
    container: dict[str, Any]

    @classmethod
    def of(cls, manifests: list[Manifest]) -> "Pod":
        spec = only(manifests, "Deployment")["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        return cls(spec, container)

    def environ(self) -> dict[str, str]:
        """Return the container's variables."""
        found: dict[str, str] = {}
        for source in self.container.get("envFrom", ()):
            found |= SECRETS[source["secretRef"]["name"]]
        return found | {variable["name"]: self._value(variable) for variable in self.container["env"]}

    def writable(self) -> list[str]:
        """Return the folders on volumes that may be written to."""
        return [mount["mountPath"] for mount in self.container["volumeMounts"] if not mount.get("readOnly")]

    def memory_bytes(self) -> int:
        return _bytes(self.container["resources"]["limits"]["memory"])

    def _value(self, variable: Mapping[str, Any]) -> str:
        if "value" in variable:
            return str(variable["value"])
        source = variable["valueFrom"]
        if "secretKeyRef" in source:
            return SECRETS[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]
        kind, resource = source["resourceFieldRef"]["resource"].split(".")
        return str(_cores(str(self.container["resources"][kind][resource])))


def _cores(quantity: str) -> int:
    """Return whole cores: the kubelet rounds up (resourceFieldRef with the divisor 1)."""
    return math.ceil(float(quantity.removesuffix("m")) / (1000 if quantity.endswith("m") else 1))


def _bytes(quantity: str) -> int:
    units = {"Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
    return int(quantity[:-2]) * units[quantity[-2:]]
