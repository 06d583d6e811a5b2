"""Making of a layer: what the archive needs is read, resolved against the image, installed aside, and published."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from polyhost.container.config import Requirements
from polyhost.container.layers import index, requirements, wheels
from polyhost.container.layers.context import context
from polyhost.container.layers.errors import BadRequirementsError, InstallationError, NoRoomForLayerError
from polyhost.container.layers.image import Image, Package, View
from polyhost.container.layers.misfits import misfits
from polyhost.container.layers.needs import WHEELS, Needs, digest_of
from polyhost.container.layers.store import Hold, Layer, LayerStore, size_of
from polyhost.container.layers.uv import ConflictError, InstallProgress, Uv, too_large

_PINNED = re.compile(r"\b([A-Za-z0-9][\w.-]*)==([\w.+!-]+)")


@dataclass(frozen=True)
class LayerPlan:
    """How a layer is to be made."""

    source: Requirements
    limit: int  # bytes of all layers
    seconds: float  # until it is given up
    index: Mapping[str, str] = field(default_factory=dict)  # variables for uv (index.py)
    confine: Callable[[Path], None] | None = None  # called in uv's process, with the folder that it may write to
    report: Callable[[str], None] = lambda text: None


class Inputs(NamedTuple):
    """What uv is to install: requirements in our own writing, and the wheels' sums by name."""

    requirements: list[str]
    wheels: dict[str, str] | None

    def key(self, context: str) -> str:
        sums = [] if self.wheels is None else ["wheels", wheels.write_sums(self.wheels)]
        return digest_of(context, *self.requirements, *sums)


class Builder:
    """Makes layers of one image."""

    def __init__(self, store: LayerStore, image: Image, plan: LayerPlan) -> None:
        self._store = store
        self._image = image
        self._plan = plan
        self._context = context(plan.source, image, plan.index)

    def layer_for(self, directory: Path, needs: Needs) -> tuple[Layer, Hold]:
        """Return the layer for the archive, held by the caller from now on; make it if it does not exist.

        Raises BadRequirementsError, InstallationError, and OSError.
        """
        plan, store = self._plan, self._store
        progress = InstallProgress(time.monotonic() + plan.seconds, plan.limit, plan.report)
        with store.workplace() as workplace:
            inputs = self._read(directory, needs, workplace)
            key = inputs.key(self._context)
            held = store.hold(key) or self._make(key, inputs, needs, workplace, progress)
        if digest := needs.digest(self._context):
            store.remember(digest, key)
        return held

    def resolve(self, directory: Path, needs: Needs) -> list[str]:
        """Return the packages that the image lacks, as name==version; wheels of the archive come before the index's.

        Raises BadRequirementsError, InstallationError, and OSError.
        """
        progress = InstallProgress(time.monotonic() + self._plan.seconds, self._plan.limit, self._plan.report)
        with self._store.workplace() as workplace:
            inputs = self._read(directory, replace(needs, sums=None), workplace)
            given = workplace / "requirements.txt"
            given.write_text("".join(f"{line}\n" for line in inputs.requirements))
            arguments = ["--requirements", str(given)]
            if inputs.wheels:
                arguments += ["--find-links", str(workplace / "wheels")]
            uv = Uv(workplace, index.for_uv(self._plan.index), progress)
            view, _ = self._resolve(uv, workplace, arguments, Inputs(inputs.requirements, None))
            view.take_out(self._image)
            installed = view.installed()
            self._check(installed, isolated=False)
            return sorted(map(str, installed.values()))

    def _read(self, directory: Path, needs: Needs, workplace: Path) -> Inputs:
        found = requirements.parse(needs)
        if not needs.has_wheels:
            return Inputs(found, None)
        (workplace / "wheels").mkdir()
        return Inputs(found, wheels.copy(directory, needs.sums, workplace / "wheels", self._plan.limit))

    def _make(
        self, key: str, inputs: Inputs, needs: Needs, workplace: Path, progress: InstallProgress
    ) -> tuple[Layer, Hold]:
        store = self._store
        lock = store.lock_alone(key, progress.deadline)
        if lock is None:
            raise InstallationError("another container is still installing these packages")
        try:
            if store.find(key) is None:  # another may have made it, while this one waited
                layer, site = self._install(key, inputs, needs, workplace, progress)
                store.publish(site, layer)
                self._make_room(layer)
                self._log_made(layer, progress)
        finally:
            lock.close()
        held = store.hold(key)
        if held is None:
            raise NoRoomForLayerError("the layer was removed as soon as it was made: others take all of the room")
        return held

    def _install(
        self, key: str, inputs: Inputs, needs: Needs, workplace: Path, progress: InstallProgress
    ) -> tuple[Layer, Path]:
        progress.report(f"installing the packages of {needs.names}: {_listed(inputs.requirements)}")
        confine = self._plan.confine
        uv = Uv(workplace, self._variables(inputs), progress, confine and (lambda: confine(workplace)))
        given = workplace / "requirements.txt"
        given.write_text("".join(f"{line}\n" for line in inputs.requirements))
        arguments = ["--requirements", str(given), *self._origin(inputs, workplace)]
        view, isolated = self._resolve(uv, workplace, arguments, inputs)
        view.take_out(self._image)
        installed = view.installed()
        self._check(installed, isolated)
        if isolated:
            self._report_other_versions(installed)
        size = size_of(view.site)
        if size > self._plan.limit:
            raise too_large(self._plan.limit)
        packages = tuple(str(package) for _, package in sorted(installed.items()))
        return Layer(key, packages, size, isolated), view.site

    def _resolve(self, uv: Uv, workplace: Path, arguments: list[str], inputs: Inputs) -> tuple[View, bool]:
        """Install with the image's versions fixed; where these conflict, freely, if the mode allows that."""
        constraints = workplace / "constraints.txt"
        constraints.write_text(self._image.constraints())
        view = self._image.make_view(workplace / "image")
        try:
            uv.install(view.site, [*arguments, "--constraints", str(constraints)])
            return view, False
        except ConflictError as error:
            reason = ConflictError(str(error) + self._explanation(str(error), inputs))
            if self._plan.source is not Requirements.ISOLATED or not self._named_in(str(error)):
                raise reason from None
        view = self._image.make_view(workplace / "isolated")
        uv.install(view.site, arguments)
        return view, True

    def _origin(self, inputs: Inputs, workplace: Path) -> list[str]:
        if inputs.wheels is not None:
            return ["--no-index", "--find-links", str(workplace / "wheels")]
        return ["--no-index"] if self._plan.source is Requirements.WHEELS else []

    def _variables(self, inputs: Inputs) -> Mapping[str, str]:
        """Return nothing where no index is asked: its variables would come before --no-index."""
        return (
            {}
            if inputs.wheels is not None or self._plan.source is Requirements.WHEELS
            else index.for_uv(self._plan.index)
        )

    def _explanation(self, reason: str, inputs: Inputs) -> str:
        if fixed := self._named_in(reason):
            remedy = "" if self._plan.source is Requirements.ISOLATED else (
                "; ask for these, or serve the model with POLYHOST_REQUIREMENTS=isolated, in a Python of its own"
            )  # fmt: skip
            return f" (the image has {', '.join(map(str, fixed))}, which cannot change{remedy})"
        if inputs.wheels is not None:
            held = _listed(sorted(inputs.wheels))
            return f" ({WHEELS}/ holds {held}; polyhost pack --with-wheels puts in what is needed)"
        if self._plan.source is Requirements.WHEELS:
            return f" (the archive has no {WHEELS}/, and POLYHOST_REQUIREMENTS=wheels asks no index)"
        return " (packages are installed from wheels alone, not from source distributions)"

    def _named_in(self, reason: str) -> list[Package]:
        """Return the image's packages whose versions stand in the resolver's reason."""
        named = {(name.lower().replace("_", "-"), version.rstrip(".")) for name, version in _PINNED.findall(reason)}
        return [package for package in self._image.packages.values() if (package.name, package.version) in named]

    def _check(self, installed: Mapping[str, Package], isolated: bool) -> None:
        """Raise BadRequirementsError if something was installed that the image has, which uv should not have done."""
        taken = [name for name in installed if name == "polyhost" or (name in self._image.packages and not isolated)]
        if taken:
            raise BadRequirementsError(
                f"{installed[taken[0]]} would take the place of the container's own; leave it out of the archive"
            )

    def _report_other_versions(self, installed: Mapping[str, Package]) -> None:
        others = [
            f"{installed[name]} for the image's {package.version}"
            for name, package in sorted(self._image.packages.items())
            if name in installed
        ]
        self._plan.report(
            f"the model gets a Python of its own, which takes seconds to start and shares no memory: {_listed(others)}"
        )
        if unfit := list(misfits(self._image, installed)):
            self._plan.report(f"of the image's packages these may not work for this model: {_listed(unfit)}")

    def _make_room(self, layer: Layer) -> None:
        """Remove what is not in use; the new layer too, if there is no room even so."""
        plan, store = self._plan, self._store
        left = store.make_room(plan.limit, layer.key, lambda gone: plan.report(f"removed the layer {_named(gone)}"))
        if left > plan.limit:
            store.discard(layer.key)  # locked here
            raise NoRoomForLayerError(
                f"no room for {_named(layer)}: layers that are in use take the rest of {plan.limit >> 20} MB "
                "(POLYHOST_LAYERS_MB)"
            )

    def _log_made(self, layer: Layer, progress: InstallProgress) -> None:
        self._plan.report(f"installed {_named(layer)} in {progress.elapsed_s():.1f} s")


def _named(layer: Layer) -> str:
    packages = _listed(layer.packages) if layer.packages else "nothing: the image has it all"
    return f"{packages} ({layer.size / 1e6:.1f} MB)" if layer.packages else packages


def _listed(names: "tuple[str, ...] | list[str]", most: int = 20) -> str:
    shown = [name.partition(" --hash=")[0] for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"
