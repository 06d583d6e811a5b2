"""What a container measured, from the text of its /metrics."""

import pytest

from polyhost.planning import measured
from polyhost.planning.errors import PlanningError
from polyhost.planning.profiles import PartialProfile

TEXT = """\
# TYPE polyhost_predict_seconds histogram
polyhost_predict_seconds_bucket{le="+Inf",model="a"} 4
polyhost_predict_seconds_count{model="a"} 4
polyhost_predict_seconds_sum{model="a"} 2
polyhost_predict_seconds_count{model="b"} 0
polyhost_predict_seconds_sum{model="b"} 0
# TYPE polyhost_loads counter
polyhost_loads_total{model="a"} 2
polyhost_loads_total{model="b"} 1
# TYPE polyhost_load_seconds counter
polyhost_load_seconds_total{model="a",phase="fork"} 1
polyhost_load_seconds_total{model="a",phase="total"} 3
polyhost_load_seconds_total{model="b",phase="total"} 1
# TYPE polyhost_worker_memory_bytes gauge
polyhost_worker_memory_bytes{model="a"} 1024
polyhost_worker_memory_bytes{model="b"} 0
"""
STORE = """\
# TYPE polyhost_download_seconds counter
polyhost_download_seconds_total 6
# TYPE polyhost_downloads counter
polyhost_downloads_total 3
"""


def test_means_of_loads_and_calls() -> None:
    found = measured.read(TEXT, "here")
    assert found.profiles == {"a": PartialProfile(1024, 1.5, 0.5), "b": PartialProfile(None, 1.0, None)}
    assert found.calls == {"a": 4}


def test_the_mean_of_all_downloads_is_each_models() -> None:
    assert measured.read(TEXT + STORE, "here").profiles["a"] == PartialProfile(1024, 1.5, 0.5, 2.0)


@pytest.mark.parametrize(("text", "said"), [("", "no figures of models"), ("<html>", "not in Prometheus' format")])
def test_what_is_no_such_text_is_told(text: str, said: str) -> None:
    with pytest.raises(PlanningError, match=f"here .*{said}"):
        measured.read(text, "here")
