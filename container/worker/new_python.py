"""A worker in a Python of its own, for a model whose packages are not the image's (POLYHOST_REQUIREMENTS=isolated).

A fork has the zygote's imports and cannot get rid of them. So in the middle of its load it executes Python anew, with
the layer before the image's packages on the search path. Already the worker's own imports find packages there (NumPy),
and they may be a stranger's: the fork is confined by then, and stays so.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import NoReturn

from polyhost.container.config import Config
from polyhost.container.control_protocol import ForkDescriptors, ForkRequest, ModelRef

_MODULE = "polyhost.container.worker"


@dataclass(frozen=True)
class LoadInProgress:
    """A load that goes on in another Python. Times are the monotonic clock's."""

    forked: float
    commanded: float
    gpu_id: int | None
    batch_size: int


def execute(request: ForkRequest, descriptors: ForkDescriptors, config: Config, load: LoadInProgress) -> NoReturn:
    """Execute the new Python in this process, which is confined. Raises OSError."""
    assert request.layer is not None
    # The model's output is where this process prints; a copy, for the new Python closes it.
    handed_on = descriptors._replace(output=os.dup(descriptors.output))
    for descriptor in handed_on:
        os.set_inheritable(descriptor, True)
    # The container's own code stays first (config.child_environment).
    first, _, others = os.environ.get("PYTHONPATH", "").partition(os.pathsep)
    paths = os.pathsep.join(filter(None, [first, request.layer, others]))
    words = [json.dumps(asdict(item)) for item in (request, load)]
    words += [",".join(map(str, handed_on)), config.to_json()]
    # -P: or the current folder, which is the model's, would come first of all.
    os.execve(sys.executable, [sys.executable, "-P", "-m", _MODULE, *words], {**os.environ, "PYTHONPATH": paths})


def handed_on(request: str, load: str, descriptors: str) -> tuple[ForkRequest, LoadInProgress, list[int]]:
    """Return what `execute` has handed on to this process."""
    fields = json.loads(request)
    inherited = [int(descriptor) for descriptor in descriptors.split(",")]
    for descriptor in inherited:
        os.set_inheritable(descriptor, False)  # a program that the model starts must not hold its connection open
    return (
        ForkRequest(**{**fields, "model": ModelRef(**fields["model"])}),
        LoadInProgress(**json.loads(load)),
        inherited,
    )
