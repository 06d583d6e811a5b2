"""The container end to end: real front ends, real fork server, real workers."""

from collections.abc import Callable
from pathlib import Path

from tests.support.container import ContainerProcess, running


def test_a_script_is_served(container: ContainerProcess, new_model: Callable[[str], str]) -> None:
    name = container.loaded(new_model("echo"))

    response = container.invoke(name, b"1,2", content_type="text/csv", accept="text/plain")

    assert (response.status_code, response.text, response.headers["content-type"]) == (200, "1,2", "text/csv")


def test_a_script_written_for_sagemakers_image_is_served(
    container: ContainerProcess, new_model: Callable[[str], str]
) -> None:
    name = container.loaded(new_model("answers_of_other_types"))

    written = container.invoke(name, b"[1]", accept="application/json")
    assert (written.status_code, written.json()) == (200, {"1": "2024-02-29", "Model": 0.5})
    response = container.invoke(name, b"[1]", accept="text/html;level=1;q=0.9, text/csv;q=0.1")
    assert (response.status_code, response.json()) == (202, "text/html;level=1")
    assert (response.headers["content-type"], response.headers["x-written-by"]) == ("text/html;level=1", "worker")
    assert container.invoke(name, b"[1]", accept="text/csv; header=present").status_code == 406


def test_two_containers_run_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with running(tmp_path / "a") as one, running(tmp_path / "b") as two:
        assert one.http.get("/ping").status_code == two.http.get("/ping").status_code == 200
        assert one.stop() == two.stop() == 0
