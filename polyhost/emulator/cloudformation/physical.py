"""A resource as the service that has it knows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Physical:
    """A resource that was made: `id` is what Ref gives, `attributes` what Fn::GetAtt gives.

    `name` is the value of the property that names the resource, whether the template or CloudFormation chose it.
    """

    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
