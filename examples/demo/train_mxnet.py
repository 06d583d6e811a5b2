"""A small convolutional network in MXNet, exported as its symbol and parameters."""

from pathlib import Path
from typing import Any

import numpy as np

from examples.demo.digits import Samples, describe

# MXNet 1.9.1, its last release, asks for numpy.bool, which numpy 1.24 removed (apache/mxnet#21165).
setattr(np, "bool", np.bool_)  # noqa: B010
import mxnet as mx  # noqa: E402
from mxnet.gluon import nn  # noqa: E402

EPOCHS = 10
BATCH = 64


def train(folder: Path, samples: Samples) -> None:
    """Fill the folder with digits-symbol.json, digits-0000.params, digits-shapes.json and synset.txt."""
    mx.random.seed(0)
    np.random.seed(0)  # MXNet's initialisers and its data loader use it
    features = _features()
    _fit(features, samples)
    model = nn.HybridSequential()
    model.add(features, nn.HybridLambda("softmax"))
    model.hybridize()
    model(mx.nd.array(samples.x[:1, None]))
    model.export(str(folder / "digits"))
    describe(folder)


def _features() -> Any:
    features = nn.HybridSequential()
    features.add(
        nn.BatchNorm(),  # scales grey values of 0 to 255 for the next layers
        nn.Conv2D(16, 3, padding=1, activation="relu"),
        nn.Conv2D(32, 3, activation="relu"),
        nn.MaxPool2D(2),
        nn.Dense(10),
    )
    features.initialize(mx.init.Xavier())
    features.hybridize()
    return features


def _fit(features: Any, samples: Samples) -> None:
    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = mx.gluon.Trainer(features.collect_params(), "adam", {"learning_rate": 0.005})
    rows = mx.gluon.data.ArrayDataset(samples.x[:, None], samples.y.astype(np.float32))
    for _ in range(EPOCHS):
        for images, classes in mx.gluon.data.DataLoader(rows, BATCH, shuffle=True):
            with mx.autograd.record():
                loss = loss_of(features(images), classes)
            loss.backward()
            trainer.step(len(images))
