import pytest

from benchmarks.__main__ import STAGES, options
from benchmarks.effort import FULL
from benchmarks.models import KINDS


def test_every_stage_but_thousand_runs_by_default() -> None:
    given = options(["--stock", "python"])
    assert set(given.stages) == set(STAGES) - {"thousand"}
    assert given.stacks == ["stock", "polyhost", "native"]
    assert given.effort == FULL


@pytest.mark.parametrize(("arguments", "counts"), [(["--thousand"], (1000, 2000)), (["--thousand", "300"], (300, 300))])
def test_thousand_loads_two_thousand_on_the_native_front_end(arguments: list[str], counts: tuple[int, int]) -> None:
    given = options(["--stock", "python", "--only", "cold", *arguments])
    assert given.stages == ["cold", "thousand"]
    assert tuple(map(given.effort.thousand_models, ("polyhost", "native"))) == counts


def test_an_unknown_stage_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(["--stock", "python", "--only", "cold,luke"])
    assert "unknown word 'luke'; give any of cold,density" in capsys.readouterr().err


def test_the_models_of_every_stage_exist() -> None:
    assert all(model in KINDS for stage in STAGES.values() for model in stage.models)
