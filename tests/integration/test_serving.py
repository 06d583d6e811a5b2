"""The container end to end: real front ends, real fork server, real workers."""

from collections.abc import Callable
from pathlib import Path

from tests.support.container import ContainerProcess, running


def test_a_script_is_served(container: ContainerProcess, new_model: Callable[[str], str]) -> None:
    name = container.loaded(new_model("echo"))

    response = container.invoke(name, b"1,2", content_type="text/csv", accept="text/plain")

    assert (response.status_code, response.text, response.headers["content-type"]) == (200, "1,2", "text/csv")


def test_two_containers_run_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with running(tmp_path / "a") as one, running(tmp_path / "b") as two:
        assert one.http.get("/ping").status_code == two.http.get("/ping").status_code == 200
        assert one.stop() == two.stop() == 0
