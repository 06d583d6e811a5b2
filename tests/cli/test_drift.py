"""`polyhost drift` on files, and on the emulator's S3."""

import json
import os
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from polyhost.drift.monitor import read_baseline
from tests.drift.data import csv_rows, line, normal, write_baseline
from tests.support.command import run_polyhost
from tests.support.s3 import s3_server

DRIFTED = 3


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return write_baseline(tmp_path, "moves,stays", normal(1, 500))


def captures(folder: Path, mean: float, model: str = "a.tar.gz") -> Path:
    path = folder / "AllTraffic" / "2026" / "01" / "05" / "13" / f"{model}-{mean}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(line(csv_rows(normal(2, 300, mean)), targetModel=model))
    return folder


def test_no_drift(baseline: Path, tmp_path: Path) -> None:
    done = run_polyhost("drift", baseline, captures(tmp_path / "c", 0))
    assert (done.returncode, done.stdout) == (0, "no drift in 300 rows of 2 columns\n")


def test_drift_in_text_json_and_files(baseline: Path, tmp_path: Path) -> None:
    folder = captures(tmp_path / "<c>", 1)
    done = run_polyhost("drift", baseline, folder, "--save", tmp_path / "out", "--report", tmp_path / "r.html")
    assert done.returncode == DRIFTED, done.stderr
    first, last = done.stdout.splitlines()
    assert first.startswith("moves  baseline_drift_check  Baseline drift distance: 0.")
    assert last == "1 violations in 300 rows, of 1 columns"
    (violation,) = json.loads((tmp_path / "out" / "constraint_violations.json").read_text())["violations"]
    assert violation["feature_name"] == "moves"
    assert read_baseline(tmp_path / "out").names == ["moves", "stays"]

    report = (tmp_path / "r.html").read_text()
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(report)
    assert "svg" in tags and "script" not in tags and "c" not in tags
    assert "&lt;c&gt;" in report and "http" not in report

    done = run_polyhost("drift", tmp_path / "out", folder, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["drifted"], found["rows"]) == (0, [], 300)


def test_one_model_of_many(baseline: Path, tmp_path: Path) -> None:
    folder = captures(captures(tmp_path / "c", 1, "bad.tar.gz"), 0, "good.tar.gz")
    assert run_polyhost("drift", baseline, folder, "--model", "good.tar.gz").returncode == 0
    found = run_polyhost("drift", baseline, folder, "--model", "bad.tar.gz", "--json")
    assert (found.returncode, json.loads(found.stdout)["drifted"]) == (DRIFTED, ["moves"])


def test_from_s3(baseline: Path, tmp_path: Path) -> None:
    folder = captures(tmp_path / "c", 1)
    with s3_server() as (client, variables):
        client.create_bucket(Bucket="data")
        client.upload_file(str(baseline), "data", "base/train.csv")
        for file in folder.rglob("*.jsonl"):
            client.upload_file(str(file), "data", f"live/digits/{file.relative_to(folder)}")
        url = variables["AWS_ENDPOINT_URL_S3"]
        given = "drift", "s3://data/base/train.csv", "s3://data/live/digits", "--endpoint-url", url, "--json"
        environment = variables | {"AWS_DEFAULT_REGION": "us-east-1"}
        done = run_polyhost(*given, environ=environment)
        assert (done.returncode, json.loads(done.stdout)["drifted"]) == (DRIFTED, ["moves"]), done.stderr
        done = run_polyhost(
            "drift", "s3://data/base/train.csv", "s3://data/none", "--endpoint-url", url, environ=environment
        )
        assert (done.returncode, done.stderr) == (
            1,
            "polyhost: there is no object at s3://data/none; check the prefix\n",
        )


def test_bad_input_is_one_sentence(baseline: Path, tmp_path: Path) -> None:
    drifted, empty = captures(tmp_path / "c", 1), tmp_path / "empty"
    empty.mkdir()
    for given, message in (
        ((tmp_path / "none.csv", tmp_path), "there is no"),
        ((baseline, empty), "there is no *.jsonl in"),
        ((baseline, baseline), "line 1 of"),
        ((baseline, drifted, "--report", empty / "none" / "r.html"), "cannot write"),
    ):
        done = run_polyhost("drift", *given)
        assert done.returncode == 1 and message in done.stderr
        assert done.stderr.startswith("polyhost: ") and done.stderr.count("\n") == 1, done.stderr


def test_without_the_extra_it_says_what_to_install(baseline: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['scipy'] = None\n")
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = run_polyhost("drift", baseline, baseline, environ=environment)
    assert (done.returncode, done.stderr) == (1, "polyhost: scipy is not installed; install polyhost[drift]\n")
