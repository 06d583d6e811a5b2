"""Models on a GPU and, on the same machine, on its CPU: `python -m benchmarks.gpu`. Needs no stock stack.

Networks of PyTorch, and a classifier of Hugging Face's transformers for a short text and for one of 128 tokens.
"""

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.cold import cold
from benchmarks.context import Context
from benchmarks.effort import FULL
from benchmarks.hot import hot
from benchmarks.huggingface import MINILM
from benchmarks.machine import Machine
from benchmarks.models import IMAGE, KINDS, Kind, Shelf, jpeg
from benchmarks.servers import ROOT, native, running

_COPIES = 8  # of a model, for the GPU memory that each takes
_ZYGOTES = {"POLYHOST_ZYGOTES": "torch huggingface"}


def _residual(folder: Path) -> None:
    """Make a network of ResNet-50's size and shape with random weights: 25 million parameters, 4 GFLOP an image."""
    import torch
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, channels: int, width: int, stride: int) -> None:
            super().__init__()
            out = 4 * width
            self.body = nn.Sequential(
                nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out),
            )  # fmt: skip
            self.short = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.last = nn.ReLU()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.last(self.body(images) + self.short(images))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    blocks: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(count):
            blocks.append(Bottleneck(channels, width, stride if index == 0 else 1))
            channels = 4 * width
    network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as such
        torch.jit.save(torch.jit.trace(network, torch.zeros(IMAGE)), str(folder / "model.pt"))  # type: ignore[no-untyped-call]
    (folder / "shapes.json").write_text(json.dumps([{"name": "data", "shape": IMAGE}]))


def _long_text() -> bytes:
    return json.dumps({"inputs": " ".join(["film"] * 128)}).encode()


_MLP = KINDS["mlp"]
_MODELS = (
    _MLP,
    Kind("residual", "torch", "image/jpeg", _residual, jpeg),
    MINILM,
    replace(MINILM, name="minilm128", body=_long_text),
)


def main() -> None:
    """Print one JSON object: the machine, the GPU, and the figures of each model with and without the GPU."""
    import pynvml
    import torch
    import transformers

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    shelf = Shelf(ROOT / "build" / "bench-models")
    shelf.fill(iter(_MODELS))
    found: dict[str, object] = {
        "machine": vars(Machine.current()),
        "gpu": pynvml.nvmlDeviceGetName(handle),
        "driver": pynvml.nvmlSystemGetDriverVersion(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    for place, visible in (("gpu", "0"), ("cpu", "")):
        with running(native(CUDA_VISIBLE_DEVICES=visible, **_ZYGOTES)) as server:
            context = Context(server, shelf, FULL)
            for kind in _MODELS:
                found[f"{kind.name}, {place}"] = figures = {**cold(context, kind), **hot(context, kind)}
                print(f"{kind.name}, {place}: {figures}", file=sys.stderr, flush=True)
            for kind in (_MLP, MINILM):
                taken = _taken(context, kind, lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used))
                found[f"{kind.name}, {place}, GPU MB a model"] = round(taken / 1e6 / _COPIES, 1)
    print(json.dumps(found, indent=1))


def _taken(context: Context, kind: Kind, used: Callable[[], int]) -> int:
    """Return how much more is used once copies of a model are loaded and have answered; unload them."""
    before = used()
    with context.fresh_copies(kind, _COPIES) as models, context.server.client() as client:
        for model in models:
            client.load(model)
            client.invoke(model, context.body(kind))
        taken = used() - before
        for model in models:
            client.unload(model)
    return taken


if __name__ == "__main__":
    main()
