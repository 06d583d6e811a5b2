"""Scaling: more workers while a model is busy and cores are free, fewer when it is idle."""

from polyhost.container.forkserver.scaler import Load, Scaler

ROUND_S = 0.5


class Model:
    """A model with a given load, which is resized as the scaler asks, as MMS would do it."""

    def __init__(self, name: str = "m", follows: bool = True) -> None:
        self.name = name
        self.workers = 1
        self.busy_ns = 0
        self.follows = follows

    def work(self, share: float) -> Load:
        self.busy_ns += int(share * self.workers * ROUND_S * 1e9)
        return Load(self.name, self.workers, self.busy_ns)


class Stage:
    """A scaler, some models, and the resizes that were asked for."""

    def __init__(self, cores: int, *models: Model, **options: float) -> None:
        self.models = {model.name: model for model in models}
        self.changes: list[tuple[str, int]] = []
        self._scaler = Scaler(cores, ROUND_S, self._resize, **options)  # type: ignore[arg-type]

    def rounds(self, count: int, *shares: float) -> None:
        for _ in range(count):
            self._scaler.round(model.work(share) for model, share in zip(self.models.values(), shares, strict=True))

    def _resize(self, name: str, workers: int) -> None:
        self.changes.append((name, workers))
        if self.models[name].follows:
            self.models[name].workers = workers


def test_busy_model_grows_up_to_the_number_of_cores() -> None:
    stage = Stage(4, Model())
    stage.rounds(20, 1.0)

    assert stage.changes == [("m", 2), ("m", 3), ("m", 4)]


def test_single_busy_round_changes_nothing() -> None:
    stage = Stage(4, Model())
    for _ in range(10):
        stage.rounds(1, 1.0)
        stage.rounds(1, 0.0)

    assert stage.changes == []


def test_no_model_grows_while_others_use_the_cores() -> None:
    stage = Stage(2, Model("a"), Model("b"))
    stage.rounds(20, 1.0, 1.0)

    assert stage.changes == []


def test_idle_model_shrinks_one_by_one_to_a_single_worker() -> None:
    stage = Stage(3, Model())
    stage.rounds(10, 1.0)
    stage.changes.clear()
    stage.rounds(100, 0.0)

    assert stage.changes == [("m", 2), ("m", 1)]


def test_a_worker_whose_end_costs_an_invocation_stays_while_there_are_any() -> None:
    stage = Stage(3, Model(), idle_share=0.0)
    stage.rounds(10, 1.0)
    stage.changes.clear()
    for _ in range(20):  # one short invocation in every five seconds
        stage.rounds(9, 0.0)
        stage.rounds(1, 0.001)
    assert stage.changes == []
    stage.rounds(100, 0.0)
    assert stage.changes == [("m", 2), ("m", 1)]


def test_half_busy_model_keeps_its_workers() -> None:
    stage = Stage(4, Model())
    stage.rounds(100, 0.5)

    assert stage.changes == []


def test_resize_that_mms_ignores_is_repeated_later() -> None:
    stage = Stage(4, Model(follows=False))
    stage.rounds(20, 1.0)
    assert stage.changes == [("m", 2)]

    stage.rounds(30, 1.0)
    assert stage.changes == [("m", 2), ("m", 2)]


def test_ended_worker_does_not_make_the_model_busy() -> None:
    stage = Stage(4, Model())
    stage.rounds(5, 0.5)
    stage.models["m"].busy_ns = 0
    stage.rounds(5, 0.5)

    assert stage.changes == []


def test_history_ends_with_the_model() -> None:
    stage = Stage(4, Model())
    stage.rounds(1, 1.0)
    stage._scaler.round([])
    stage.models["m"].busy_ns = 0
    stage.rounds(2, 1.0)

    assert stage.changes == []
