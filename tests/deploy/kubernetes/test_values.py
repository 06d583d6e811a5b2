"""Values: the schema knows each, and refuses what is wrong with a message that names it."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.deploy.kubernetes.chart import CHART, DEFAULTS, ChartError, only, render
from tests.support.container import ROOT

BAD: list[tuple[dict[str, Any], str]] = [
    ({"replica": 3}, "'replica' not allowed"),
    ({"replicas": "3"}, "'/replicas': got string, want integer"),
    ({"store": {"url": "s3//models"}}, "'/store/url': 's3//models'"),
    ({"store": {"url": "s3://models/?x"}}, "'/store/url': 's3://models/?x'"),
    ({"store": {"link": "s3://models/"}}, "'/store': additional properties 'link'"),
    ({"store": {"loadAtStart": ["two names"]}}, "'/store/loadAtStart/0': 'two names'"),
    ({"disk": {"size": "20GB"}}, "'/disk/size': '20GB'"),
    ({"resources": {"limits": {"memory": None}}}, "'/resources/limits': missing property 'memory'"),
    ({"resources": {"requests": {"cpu": None}}}, "'/resources/requests': missing property 'cpu'"),
    ({"resources": {"limits": {"memory": "much"}}}, "'/resources/limits/memory': 'much'"),
    ({"frontend": "java"}, "'/frontend': value must be one of 'native', 'mms'"),
    ({"settings": {"POLYHOST_ZYGOTE": "sklearn"}}, "'/settings': additional properties 'POLYHOST_ZYGOTE'"),
    ({"settings": {"POLYHOST_QUEUE_SIZE": 5}}, "'/settings/POLYHOST_QUEUE_SIZE': got number, want string"),
    ({"settings": {"POLYHOST_FINISH_SECONDS": "5"}}, "'POLYHOST_FINISH_SECONDS' not allowed"),  # end.finishSeconds
    ({"end": {"finishSeconds": 0}}, "'/end/finishSeconds': minimum: got 0, want 1"),
    ({"autoscaling": {"loadShare": {"percent": 0.5}}}, "'/autoscaling/loadShare/percent'"),
    ({"image": {"digest": "sha256:12"}}, "'/image/digest': 'sha256:12'"),
    ({"user": 0}, "'/user': minimum: got 0, want 1"),
    ({"env": [{"nam": "A"}]}, "'/env/0'"),
    ({"gateway": {"loadFactor": 50}}, "'/gateway/loadFactor': minimum: got 50, want 100"),
    ({"gateway": {"port": 80000}}, "'/gateway/port': maximum: got 80,000, want 65,535"),
    ({"podDisruptionBudget": {"maxUnavailable": "half"}}, "'/podDisruptionBudget/maxUnavailable': 'half'"),
    # What a schema cannot say.
    ({"store": {"url": ""}}, "store.url and store.volume are empty"),
    ({"store": {"volume": {"emptyDir": {}}}}, 'store.url is "s3://models/" and store.volume is given as well'),
    (
        {"env": [{"name": "POLYHOST_FRONTEND", "value": "mms"}]},
        "env names POLYHOST_FRONTEND, a setting of the container",
    ),
    ({"autoscaling": {"enabled": True, "minReplicas": 20}}, "autoscaling.maxReplicas is 10, less than"),
]


@pytest.mark.parametrize(("values", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_value_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ChartError) as error:
        render({**DEFAULTS, **values, "store": {**DEFAULTS["store"], **values.get("store", {})}})
    assert message in str(error.value)


def test_the_schema_knows_each_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    _compare(values, schema, schema["$defs"], "")


def _compare(values: dict[str, Any], schema: dict[str, Any], definitions: dict[str, Any], path: str) -> None:
    known = schema["properties"]
    assert set(values) == set(known) - {"global"}, path  # "global" is Helm's
    for name, value in values.items():
        inner = known[name]
        if isinstance(value, dict) and inner.get("properties") and name != "settings":
            _compare(value, inner, definitions, f"{path}/{name}")


def test_a_number_of_replicas_is_given_once() -> None:
    deployment = only(render({**DEFAULTS, "replicas": 7}), "Deployment")
    assert deployment["spec"]["replicas"] == 7


DOCUMENT = (ROOT / "docs" / "kubernetes.md").read_text()


@pytest.mark.parametrize("example", re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE))
def test_the_documentations_values_are_right(example: str) -> None:
    assert render({**DEFAULTS, **yaml.safe_load(example)})


def test_the_documentation_names_values_that_exist() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = set(re.findall(r"`([a-z]\w+(?:\.[a-z]\w+)+)(?:: [^`]*)?`", DOCUMENT))
    named = {name for name in named if name.partition(".")[0] in values and not name.startswith("files.")}
    assert len(named) > 20
    for name in named:
        inner: Any = values
        for part in name.split("."):
            if name.startswith(("settings.", "resources.")):
                break
            assert part in inner, name
            inner = inner[part]
