"""The five models of the demo: how each is trained, and the trials that it has to pass."""

from collections.abc import Callable
from dataclasses import dataclass

from examples.demo import digits, trials
from examples.demo.digits import Samples
from examples.demo.trials import CSV, JSON, NPY, PNG, Trial

Data = Callable[[], tuple[Samples, Samples]]


@dataclass(frozen=True)
class DemoModel:
    """One model. `train` is a name, MODULE:FUNCTION, so that no framework is imported before it is needed."""

    name: str
    framework: str
    train: str
    data: Data
    trials: tuple[Trial, ...]

    @property
    def archive(self) -> str:
        """The name of its archive, which is its TargetModel."""
        return f"{self.name}.tar.gz"


MODELS = (
    DemoModel(
        "digits-mxnet",
        "MXNet",
        "examples.demo.train_mxnet:train",
        digits.digits,
        (Trial(PNG, digits.png, trials.likeliest, 0.95),),
    ),
    DemoModel(
        "digits-torch",
        "PyTorch",
        "examples.demo.train_torch:train",
        digits.digits,
        (Trial(PNG, digits.png, trials.likeliest, 0.95), Trial(NPY, trials.npy_image, trials.likeliest_of_row, 0.95)),
    ),
    DemoModel(
        "digits-forest",
        "scikit-learn",
        "examples.demo.train_sklearn:forest",
        digits.digits,
        (
            Trial(CSV, trials.csv_row, trials.only, 0.94),
            Trial(JSON, trials.json_row, trials.only, 0.94),
            Trial(NPY, trials.npy_row, trials.only, 0.94),
        ),
    ),
    DemoModel(
        "digits-custom",
        "inference.py",
        "examples.demo.train_sklearn:custom",
        digits.digits,
        (Trial(PNG, digits.png, lambda response: int(response["digit"]), 0.95),),
    ),
    DemoModel(
        "moons-forest",
        "scikit-learn",
        "examples.demo.train_sklearn:moons",
        digits.moons,
        (Trial(JSON, trials.json_object, lambda response: int(response["prediction"]), 0.80),),
    ),
)
