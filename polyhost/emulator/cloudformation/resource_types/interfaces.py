"""What a type of resource is to the engine, and what it may ask of the emulator."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from polyhost.emulator.cloudformation.errors import ResourceError
from polyhost.emulator.cloudformation.physical import Physical

Properties = Mapping[str, Any]


class Aws(ABC):
    """The emulator's AWS in the region of a stack."""

    region: str

    @abstractmethod
    def call(self, service: str, operation: str, members: Properties) -> dict[str, Any]:
        """Call an operation, with values converted to the types that it takes. Raises ResourceError."""

    @abstractmethod
    def discard(self, service: str, operation: str, members: Properties) -> None:
        """Call an operation that deletes something; if it does not exist, that is as good. Raises ResourceError."""

    @abstractmethod
    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Return when a state is reached. Raises ChangeCancelledError if the stack's change is cancelled."""


@contextmanager
def made(physical: Physical) -> Iterator[None]:
    """Let what was made be deleted if the rest of its creation fails."""
    try:
        yield
    except ResourceError as error:
        error.made = physical
        raise


class ResourceType(ABC):
    """One type of resource. Every method may raise ResourceError, whose message becomes the event's reason."""

    type_name: ClassVar[str]
    # The property that names the resource, and how long a name may be that CloudFormation chooses.
    name_property: ClassVar[str] = ""
    max_name_length: ClassVar[int] = 63
    # Properties whose change needs a new resource (CloudFormation user guide, "Update requires: Replacement").
    replaced_by: ClassVar[frozenset[str]] = frozenset()
    required: ClassVar[tuple[str, ...]] = ()
    # The capability that a stack with such a resource needs.
    capability: ClassVar[str] = ""

    @abstractmethod
    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Make the resource; it need not be ready yet."""

    def settle(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Wait until a resource that was made or changed is ready; most are at once."""
        return

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Change the resource, and return it with its attributes."""
        raise NotImplementedError

    @abstractmethod
    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Delete the resource and wait until it is gone."""

    def needs_replacement(self, changed: frozenset[str]) -> bool:
        """Return whether a change of these properties needs a new resource."""
        return bool(changed & self.replaced_by)


class ImmutableType(ResourceType):
    """A type whose resources are replaced whatever changes, apart from their tags."""

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Leave the resource as it is: only its tags differ."""
        return physical

    def needs_replacement(self, changed: frozenset[str]) -> bool:
        """Return whether anything but the tags changes."""
        return bool(changed - {"Tags"})
