"""The dashboard and the autoscaler's rule, with the metrics of a real container and by a real Prometheus."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kubernetes.chart import CHART, render, values_of
from tests.deploy.kubernetes.prometheus import LABELS, scraping
from tests.integration.test_model_store import invoke, running_store
from tests.support.container import ContainerProcess
from tests.support.model_store import archive_of, put, says
from tests.support.waiting import wait_for

DASHBOARD: dict[str, Any] = json.loads((CHART / "files" / "dashboard.json").read_text())
EXPRESSIONS = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
NAME = re.compile(r"\bpolyhost_\w+")
# What a container in which nothing goes wrong has no series of.
MAY_BE_EMPTY = {"Workers that died A"}
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture(scope="module", params=["native", "mms"])
def front(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def used(folder: Path, front: str) -> Iterator[ContainerProcess]:
    """Run a container in which all has happened that a panel shows."""
    store = folder / "store"
    put(store, "a.tar.gz", says("one"))
    put(store, "b.tar.gz", archive_of("empty", inference__py=says_script("b"), weights="x" * 700_000))
    put(store, "c.tar.gz", archive_of("empty", inference__py=says_script("c"), weights="y" * 700_000))
    with running_store(folder, front, store, POLYHOST_UNPACK_MB="1") as container:
        yield container


def says_script(text: str) -> str:
    return f"def model_fn(d): return 1\ndef transform_fn(m, b, c, a): return {text!r}, 'text/plain'\n"


def use(container: ContainerProcess, store: Path, number: int) -> None:
    """Have hits, misses, failures, evictions for the disk, and a new version."""
    put(store, "a.tar.gz", says(f"version {number}"))
    # b and c do not fit together; a, used in between, stays.
    calls = [("b.tar.gz", 200), ("a.tar.gz", 200), ("c.tar.gz", 200), ("a.tar.gz", 200), ("none", 404)]
    for name, status in calls:
        response = invoke(container, name)
        assert response.status_code == status, response.text


def test_panels_ask_for_what_the_container_has(tmp_path: Path, front: str) -> None:
    """On both front ends; MMS has no series of each model."""
    with used(tmp_path, front) as container:
        use(container, tmp_path / "store", 1)
        text = container.http.get("/metrics").text
    exported = {
        name + suffix
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
        for suffix in ("", *_SUFFIXES.get(kind, ()))
    }
    asked = {name for expression in EXPRESSIONS.values() for name in NAME.findall(expression)}
    assert len(asked) > 15 and asked <= exported


def test_prometheus_answers_each_panel(tmp_path: Path, front: str) -> None:
    with used(tmp_path, front) as container, scraping(tmp_path / "prometheus", container.port) as prometheus:
        left = {name: filled_in(expression) for name, expression in EXPRESSIONS.items() if name not in MAY_BE_EMPTY}
        if front == "mms":
            left = {name: expression for name, expression in left.items() if "Native" not in description_of(name)}
        for name in MAY_BE_EMPTY:
            prometheus.query(filled_in(EXPRESSIONS[name]))
        rounds = iter(range(1, 1000))

        def all_answered() -> bool:
            use(container, tmp_path / "store", next(rounds))
            for name, expression in list(left.items()):
                if any(float(series["value"][1]) > 0 for series in prometheus.query(expression)):
                    del left[name]
            return left.keys() <= NEVER_ABOVE_0

        try:
            wait_for(all_answered, "values of each panel")
        except AssertionError:
            raise AssertionError(f"without a value: {sorted(left)}") from None


# Failures, of which this container has none. They are there all the same, with 0.
NEVER_ABOVE_0 = {"New versions B", "New versions C"}


def test_the_adapters_rule_gives_the_share_of_each_pod(tmp_path: Path) -> None:
    (rule,) = yaml.safe_load((CHART / "files" / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    series = rule["seriesQuery"].replace("polyhost_target_misses_total{", 'polyhost_target_misses_total{job!="",')
    matchers = ",".join(f'{name}="{LABELS[name]}"' for name in ("namespace", "pod"))
    query = rule["metricsQuery"].replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", "namespace,pod")
    with used(tmp_path, "native") as container, scraping(tmp_path / "prometheus", container.port) as prometheus:
        wait_for(lambda: prometheus.query(series), "the series")
        assert set(rule["resources"]["overrides"]) <= prometheus.query(series)[0]["metric"].keys()

        def share() -> float | None:
            invoke(container, "a.tar.gz")
            invoke(container, "none")
            found = prometheus.query(query)
            assert len(found) <= 1
            return float(found[0]["value"][1]) if found and 0 < float(found[0]["value"][1]) < 1 else None

        assert wait_for(share, "a share") < 1


def test_the_dashboard_is_whole() -> None:
    (config_map,) = [manifest for manifest in render(values_of("everything")) if manifest["kind"] == "ConfigMap"]
    assert json.loads(config_map["data"]["polyhost.json"]) == DASHBOARD
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places) and all(panel["description"] for panel in panels)
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used_variables = set(re.findall(r"\$(\w+)", " ".join(EXPRESSIONS.values()))) - {"__rate_interval"}
    assert used_variables == variables - {"datasource"}


def description_of(name: str) -> str:
    title = name.rpartition(" ")[0]
    return next(str(panel["description"]) for panel in DASHBOARD["panels"] if panel["title"] == title)


def filled_in(expression: str) -> str:
    """Return the expression as Grafana sends it."""
    filled = expression.replace("$__rate_interval", "1m")
    return filled.replace("$namespace", LABELS["namespace"]).replace("$service", LABELS["job"])
