"""Traces of both forms, and broken ones."""

from pathlib import Path

import pytest

from polyhost.planning import traces
from polyhost.planning.calls import PlannedCall
from polyhost.planning.errors import PlanningError


def read(folder: Path, text: str, **keys: str) -> list[PlannedCall]:
    path = folder / "trace"
    path.write_text(text)
    return traces.read(path, **keys)


@pytest.mark.parametrize(
    "text",
    [
        "time,model\n5,a\n6.5,b\n\n7,a\n",
        "\ufeffmodel,status, time\r\na,200,5\r\nb,200,6.5\r\na,503,7\r\n",
        '{"time": 5, "model": "a"}\n{"time": "6.5", "model": "b", "more": 1}\n\n{"time": 7, "model": "a"}',
        "time,model\n7,a\n5,a\n6.5,b\n",
        "time,model\n2026-01-01T00:00:05Z,a\n2026-01-01T01:00:06.500+01:00,b\n2026-01-01T00:00:07Z,a\n",
    ],
)
def test_calls_come_by_time_from_0(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == [PlannedCall(0.0, "a"), PlannedCall(1.5, "b"), PlannedCall(2.0, "a")]


def test_names_with_commas_and_other_keys(tmp_path: Path) -> None:
    text = 'when,target\n1,"team, one/m.tar.gz"\n'
    assert read(tmp_path, text, time_key="when", model_key="target") == [PlannedCall(0.0, "team, one/m.tar.gz")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no calls"),
        ("time,model\n", "has no calls"),
        ("1,a\n2,b\n", "line 1: neither JSON nor a header with time and model: 1,a"),
        ("time,name\n1,a\n", "line 1: neither JSON nor a header with model"),
        ("time,model\n1,a\n2\n", "line 3: 1 fields, and the header has 2: 2"),
        ("time,model\n1,a\nnoon,b\n", "line 3: 'noon' is no time"),
        ("time,model\nnan,b\n", "line 2: 'nan' is no time"),
        ("time,model\n1,\n", "line 2: '' is no name of a model"),
        ('{"time": 1, "model": "a"}\n{"time": 2, "mod\n', "line 2: not JSON"),
        ('{"time": 1, "model": "a"}\n{"time": 2}\n', "line 2: it has no 'model'"),
        ('{"time": 1, "model": "a"}\n{"time": null, "model": "a"}\n', "line 2: None is no time"),
        ('{"time": 1, "model": 7}\n', "line 1: 7 is no name"),
        ('{"time": 1, "model": "a"}\n[1, 2]\n', "line 2: no object"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PlanningError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    assert str(tmp_path / "trace") in str(error.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(PlanningError, match=r"cannot read the trace .*none.*No such file"):
        traces.read(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"time,model\n\xff\xfe\n")
    with pytest.raises(PlanningError, match="cannot read the trace"):
        traces.read(tmp_path / "binary")
