"""A small convolutional network in PyTorch, saved as TorchScript."""

from pathlib import Path

import torch
from torch import Tensor, nn

from examples.demo.digits import Samples, describe

EPOCHS = 10
BATCH = 64


def train(folder: Path, samples: Samples) -> None:
    """Fill the folder with digits.pt, digits-shapes.json and synset.txt."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    features = _features()
    _fit(features, torch.from_numpy(samples.x[:, None]), torch.from_numpy(samples.y))
    model = nn.Sequential(features, nn.Softmax(dim=1)).eval()
    torch.jit.script(model).save(str(folder / "digits.pt"))  # type: ignore[no-untyped-call]
    describe(folder)


def _features() -> nn.Module:
    return nn.Sequential(
        nn.BatchNorm2d(1),  # scales grey values of 0 to 255 for the next layers
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(288, 10),
    )


def _fit(features: nn.Module, images: Tensor, classes: Tensor) -> None:
    optimiser = torch.optim.Adam(features.parameters(), lr=0.005)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH):  # type: ignore[no-untyped-call]
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(features(images[rows]), classes[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
