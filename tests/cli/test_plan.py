"""`polyhost plan`."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from polyhost.cli.main import app
from tests.support.model_store import put, says

NEEDS = ("--memory-mb", "10", "--cold-ms", "100", "--hot-ms", "5")
DRAWN = ("--models", "50", "--rate", "20", "--seconds", "100", *NEEDS)
TYPE = ("--type", "m=300MB,2", "--container-mb", "0")  # 204 MB for models


def plan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def planned(*arguments: str | Path) -> dict[str, Any]:
    result = plan(*arguments, "--json")
    assert result.exit_code in (0, 1), result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def error_of(*arguments: str | Path) -> str:
    result = plan(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("polyhost: ") and result.stderr.count("\n") == 1
    return result.stderr


def test_as_many_machines_as_hold_all_models() -> None:
    (found,) = planned(*DRAWN, *TYPE, "--cold-share", "0.001", "--warm-up", "50")["plans"]
    assert (found["type"], found["enough"], found["memory_for_models_mb"], found["cores"]) == ("m", True, 204, 2)
    assert 3 <= found["machines"] <= 6  # 50 models of 10 MB, 20 on each, and some machines get more than others
    one_less = str(found["machines"] - 1)
    (less,) = planned(*DRAWN, *TYPE, "--cold-share", "0.001", "--warm-up", "50", "--machines", one_less)["plans"]
    assert not less["enough"] and less["cold_share"] > 0.001


def test_a_table_with_a_line_for_each_type() -> None:
    result = plan(*DRAWN, *TYPE, "--type", "ml.m5.large", "--type", "small=100MB,1", "--p99-ms", "100")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert lines[0][1:] == ["calls", "to", "50", "models", "in", "100", "s"]
    assert [line[0] for line in lines if line[-1] in ("yes", "no")] == ["m", "ml.m5.large"]
    assert "small: model 'model-1' takes 10 MB, and the machine has 4 MB for models" in result.stdout


def test_status_1_if_nothing_is_enough() -> None:
    result = plan(*DRAWN, *TYPE, "--p99-ms", "1", "--max-machines", "4")
    assert result.exit_code == 1
    assert [line.split()[1] for line in result.stdout.splitlines() if line.endswith("no      ")] == ["4"]


def test_the_same_seed_gives_the_same_plan() -> None:
    wanted = (*DRAWN, *TYPE, "--machines", "2")
    assert planned(*wanted) == planned(*wanted)
    assert planned(*wanted) != planned(*wanted, "--seed", "2")


def test_a_trace(tmp_path: Path) -> None:
    trace = tmp_path / "calls.csv"
    trace.write_text("when,name\n" + "".join(f"{10 * number},m{number % 3}\n" for number in range(30)))
    keys = ("--time-key", "when", "--model-key", "name")
    found = planned("--trace", trace, *keys, *NEEDS, *TYPE, "--machines", "1")
    assert found["load"] == {"calls": 30, "models": 3, "seconds": 290}
    assert found["plans"][0]["loads"] == 3
    assert found["plans"][0]["p99_s"] == pytest.approx(0.105)


def test_profiles_come_before_what_is_said_for_all(tmp_path: Path) -> None:
    profiles = tmp_path / "profiles.csv"
    profiles.write_text("model,memory_mb,cold_ms,hot_ms\na,150,100,5\nb,150,100,5\n")
    (found,) = planned("--profiles", profiles, "--rate", "5", *TYPE, "--machines", "1")["plans"]
    assert found["evictions"] > 100
    profiles.write_text("model,memory_mb,cold_ms,hot_ms\na,100,100,5\nb,100,100,5\n")
    assert planned("--profiles", profiles, "--rate", "5", *TYPE, "--machines", "1")["plans"][0]["evictions"] == 0


def test_memory_by_the_models_files_and_by_measurements(tmp_path: Path) -> None:
    from polyhost.container.memory.estimates import Estimates
    from polyhost.container.memory.fingerprints import Fingerprints

    store, state = tmp_path / "store", tmp_path / "state"
    put(store, "team/a.tar.gz", says("a"))
    folder = store / "b"
    folder.mkdir()
    (folder / "model.joblib").write_bytes(b"x" * 1_000_000)
    guess = Estimates(None).need(Fingerprints(None).of("sklearn", folder))
    wanted = ("--store", store, "--rate", "5", "--cold-ms", "1", "--hot-ms", "1", "--machines", "1", *TYPE[2:])
    exact = f"m={(guess >> 20) + 1 + 96}MB,1"
    assert planned(*wanted, "--type", exact)["load"]["models"] == 2
    assert f"model 'b' takes {guess / (1 << 20):.0f} MB" in error_of(*wanted, "--type", "m=100MB,1")
    estimates = Estimates(state / "estimates.json")
    estimates.add(Fingerprints(None).of("sklearn", folder), 500 << 20)
    estimates.save()
    assert "model 'b' takes 500 MB" in error_of(*wanted, "--type", exact, "--state", state)


def test_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "plan.svg"
    result = plan(*DRAWN, *TYPE, "--type", "ml.m5.large", "--cold-share", "0.01", "--plot", picture)
    assert result.exit_code == 0, result.output
    assert picture.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            (*DRAWN, "--type", "ml.m5.tiny", "--machines", "1"),
            "machine type 'ml.m5.tiny' is not known; use one of ml.t2",
        ),
        (
            (*DRAWN, "--type", "m=100MB,2", "--machines", "1"),
            "m: model 'model-1' takes 10 MB, and the machine has 0 MB",
        ),
        (("--models", "5", *TYPE, "--machines", "1"), "give --trace FILE, or --rate, calls per second"),
        (("--rate", "5", *TYPE, *NEEDS, "--machines", "1"), "give --models, --store, --profiles or --metrics"),
        (("--models", "5", "--rate", "5", *TYPE, "--machines", "1"), "give --memory-mb and --cold-ms and --hot-ms for"),
        ((*DRAWN, *TYPE, "--rate", "1e6", "--machines", "1"), "--seconds 100 are 100,000,000 calls; at most 5,000,000"),
        ((*DRAWN, *TYPE, "--rate", "0.001", "--machines", "1"), "there is no call"),
        ((*DRAWN, *TYPE, "--machines", "1", "--warm-up", "200"), "no calls after the warm-up of 200 s"),
        (
            (*DRAWN, *TYPE, "--machines", "1", "--metrics", "http://127.0.0.1:9"),
            "metrics of http://127.0.0.1:9/metrics: ",
        ),
        ((*DRAWN, *TYPE, "--machines", "1", "--metrics", "/none"), "cannot read the metrics /none"),
        ((*DRAWN, *TYPE, "--machines", "1", "--plot", "/none/plan.png"), "cannot write the plot /none/plan.png"),
        ((*DRAWN, *TYPE, "--machines", "1", "--plot", "plan.xyz"), "cannot write the plot plan.xyz"),
        ((*DRAWN, *TYPE, "--machines", "1", "--state", "/tmp"), "give --store, the folder of these models, as well"),
    ],
)
def test_what_cannot_be_planned_is_told(arguments: tuple[str, ...], said: str) -> None:
    assert said in error_of(*arguments)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    trace, empty = tmp_path / "calls.csv", tmp_path / "empty"
    trace.write_text("time,model\n1,a\nlater,b\n")
    empty.mkdir()
    said = error_of("--trace", trace, *NEEDS, *TYPE, "--machines", "1")
    assert f"the trace {trace}, line 3: 'later' is no time; use seconds or ISO 8601" in said
    assert "leave out --rate" in error_of("--trace", trace, "--rate", "5", *NEEDS, *TYPE, "--machines", "1")
    assert f"{empty} has no models" in error_of("--store", empty, *DRAWN, *TYPE, "--machines", "1")
    put(empty, "broken.tar.gz", b"nothing")
    assert f"cannot unpack {empty}/broken.tar.gz" in error_of("--store", empty, *DRAWN, *TYPE, "--machines", "1")
    said = error_of("--store", empty, "--state", trace, *DRAWN, *TYPE, "--machines", "1")
    assert f"cannot read the measurements {trace}" in said


@pytest.mark.parametrize(
    ("arguments", "said"), [((*DRAWN, *TYPE), "--p99-ms or --cold-share"), ((*DRAWN, "--machines", "1"), "--type")]
)
def test_what_is_left_out_is_asked_for(arguments: tuple[str, ...], said: str) -> None:
    result = plan(*arguments)
    assert result.exit_code == 2 and said in result.stderr
