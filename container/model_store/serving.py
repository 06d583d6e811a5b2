"""What serves the models of a store at the moment."""

import time
from dataclasses import dataclass, field

from polyhost.container.model_store.source.versions import ModelVersion
from polyhost.model_cache.model_copy import CopyState, ModelCopy


@dataclass(eq=False)
class ServingVersion:
    """The version of a model that answers invocations, and its copy in memory."""

    version: ModelVersion
    copy: ModelCopy
    checked: float = field(default_factory=time.time)  # when the store was last asked for a newer one
    failed: str = ""  # the id of a newer version that could not be loaded
    withdrawn: bool = False  # the store has it no longer

    @property
    def loaded(self) -> bool:
        return self.copy.state is CopyState.LOADED


class ServingVersions(dict[str, ServingVersion]):
    """They by the names that clients give.

    Invariant: an entry is only replaced by one of a newer version, or when its copy is no longer loaded.
    """

    def loaded(self, name: str) -> ServingVersion | None:
        """Return what serves the name if it is loaded. Nearly every invocation goes this way."""
        serving = self.get(name)
        return serving if serving is not None and serving.copy.state is CopyState.LOADED else None

    def sweep(self) -> None:
        """Forget what is not loaded any more."""
        for name, serving in list(self.items()):
            if not serving.loaded:
                del self[name]
