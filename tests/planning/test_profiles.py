"""What models need, from several sources."""

from pathlib import Path

import pytest

from polyhost.planning import profiles
from polyhost.planning.errors import PlanningError
from polyhost.planning.profiles import ModelProfile, PartialProfile, Profiles


def test_the_first_source_that_knows_a_figure_counts() -> None:
    found = Profiles(
        ({"a": PartialProfile(memory_bytes=1)}, {"a": PartialProfile(2, 3.0)}),
        PartialProfile(7, 8.0, 9.0),
    )
    assert found.of("a") == ModelProfile(1, 3.0, 9.0)
    assert found.of("b") == ModelProfile(7, 8.0, 9.0)


def test_a_figure_that_nothing_knows_is_asked_for() -> None:
    found = Profiles(({"a": PartialProfile(memory_bytes=1)},), PartialProfile(hot_s=1.0))
    with pytest.raises(PlanningError, match="what model 'a' needs; give --cold-ms for"):
        found.of("a")
    with pytest.raises(PlanningError, match="give --memory-mb and --cold-ms for"):
        found.of("b")


def test_a_csv_may_leave_figures_out(tmp_path: Path) -> None:
    path = tmp_path / "profiles.csv"
    path.write_text("model,memory_mb,hot_ms\na,1.5,20\nb,,0\n")
    assert profiles.read(path) == {"a": PartialProfile(3 << 19, None, 0.02), "b": PartialProfile(None, None, 0.0)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the header is ''"),
        ("name,memory_mb\n", "the header is 'name,memory_mb'"),
        ("model,memory\n", "the header is 'model,memory'"),
        ("model,memory_mb\na,1\nb,much\n", "line 3: memory_mb is 'much'"),
        ("model,cold_ms\na,-1\n", "line 2: cold_ms is '-1'; it must be a number, 0 or more"),
        ("model,cold_ms\na,inf\n", "line 2: cold_ms is 'inf'"),
        ("model,cold_ms\n,5\n", "line 2: it names no model"),
    ],
)
def test_a_broken_csv_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "profiles.csv"
    path.write_text(text)
    with pytest.raises(PlanningError) as error:
        profiles.read(path)
    assert said in str(error.value) and str(path) in str(error.value)
