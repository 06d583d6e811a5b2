"""Batches of scikit-learn, PyTorch and MXNet: the rows of several requests in one call of the model."""

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.batching import InseparableError, split
from tests.handlers.conftest import Archive
from tests.handlers.served import ATTRIBUTES, Served, npy, picture

JSON = {"Content-Type": "application/json"}
# Predicts the number of rows in the call for a row that begins below zero, and 0 for any other.
COUNTS = """
import numpy
class Counts:
    def predict(self, rows):
        counts = [len(rows) if row[0] < 0 else 0 for row in rows]
        return counts if LIST else numpy.array(counts)
    def predict_proba(self, rows):
        return numpy.array([[len(rows) if row[0] < 0 else 0.0] * 2 for row in rows])
"""


def unverified(archive: Archive, source: str) -> Served:
    return Served(archive(**{"counts.py": source, "model.pkl": b"ccounts\nCounts\n)\x81."}))


@pytest.fixture
def counts(archive: Archive) -> Served:
    """Serve a model that was verified: its first batches were computed both ways."""
    served = unverified(archive, COUNTS + "LIST = False\n")
    for headers in ({}, {ATTRIBUTES: "output=probabilities"}):
        predictions(served, [[1]], [[2]], **headers)
    return served


def predictions(served: Served, *bodies: Any, **headers: str) -> list[Any]:
    responses = served.post_all(*((json.dumps(body), JSON | headers) for body in bodies))
    return [response.json for response in responses]


def test_rows_of_all_requests_go_in_one_call(counts: Served) -> None:
    assert predictions(counts, [[-1, 2]], [[-3, 4], [-5, 6]], [-7, 8]) == [[4], [4, 4], [4]]


def test_first_batch_is_computed_one_by_one(archive: Archive) -> None:
    """For each output, since one may have rows where another has none."""
    served = unverified(archive, COUNTS + "LIST = False\n")
    probabilities = {ATTRIBUTES: "output=probabilities"}
    assert predictions(served, [[1]], [[2], [3]]) == [[0], [0, 0]]
    assert predictions(served, [[1]], [[2], [3]], **probabilities) == [[[0, 0]], [[0, 0]] * 2]
    assert predictions(served, [[-1]], [[-2], [-3]]) == [[3], [3, 3]]
    assert predictions(served, [[-1]], [[-2], [-3]], **probabilities) == [[[3, 3]], [[3, 3]] * 2]


@pytest.mark.parametrize("output", ["predictions", "probabilities"])
def test_output_that_depends_on_other_rows_is_not_batched(
    archive: Archive, caplog: pytest.LogCaptureFixture, output: str
) -> None:
    served = unverified(archive, COUNTS + "LIST = False\n")
    shape: Any = (lambda count: count) if output == "predictions" else (lambda count: [count, count])
    for _ in range(2):
        found = predictions(served, [[-1]], [[-2], [-3]], **{ATTRIBUTES: f"output={output}"})
        assert found == [[shape(1)], [shape(2)] * 2]
    assert caplog.text.count("a row's output depends on others") == 1


def test_first_axis_that_is_not_rows_is_not_batched(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three steps of time, and three rows in all: cut by rows, a caller would get another's steps."""
    pytest.importorskip("torch")
    import torch

    class TimeFirst(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(-1, 3, 1).permute(1, 0, 2)

    served = Served(torch_archive(archive, tmp_path, TimeFirst()))
    for _ in range(2):
        assert predictions(served, [[1, 2, 3]], [[4, 5, 6], [7, 8, 9]]) == [
            [[[1]], [[2]], [[3]]],
            [[[4], [7]], [[5], [8]], [[6], [9]]],
        ]
    assert caplog.text.count("a request's part has the shape [1, 3, 1], and alone [3, 1, 1]") == 1


def test_output_that_does_not_grow_with_the_rows_is_not_batched(archive: Archive, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import torch

    class Sums(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"rows": x, "sum": x.sum(0)}

    served = Served(torch_archive(archive, tmp_path, Sums()))
    for _ in range(2):
        found = predictions(served, [[1, 2, 3]], [[4, 5, 6], [7, 8, 9]])
        assert [prediction["sum"] for prediction in found] == [[1, 2, 3], [11, 13, 15]]


def test_each_response_has_its_own_media_type(counts: Served) -> None:
    responses = counts.post_all(
        ("[[-1, 2]]", JSON | {"Accept": "text/csv"}),
        ('{"a": -1, "b": 2}', JSON),
        ("[-3, 4]\n[-5, 6]", {"Content-Type": "application/jsonlines"}),
    )
    assert [response.body for response in responses] == [b"4\n", b'{"prediction": 4}', b"[4, 4]"]


def test_requests_of_different_shapes_are_batched_apart(counts: Served) -> None:
    assert predictions(counts, [[-1, 2]], [[-1, 2, 3]], [[-1.5, 2]], [[-3, 4]]) == [[2], [1], [1], [2]]


def test_requests_for_different_outputs_are_batched_apart(counts: Served) -> None:
    probabilities = JSON | {ATTRIBUTES: "output=probabilities"}
    responses = counts.post_all(
        ("[[-1]]", JSON), ("[[-1]]", probabilities), ("[[-1]]", probabilities), ("[[-1]]", JSON)
    )
    assert [response.json for response in responses] == [[2], [[2.0, 2.0]], [[2.0, 2.0]], [2]]


def test_unknown_output_fails_alone(counts: Served) -> None:
    responses = counts.post_all(("[[-1]]", JSON), ("[[-1]]", JSON | {ATTRIBUTES: "output=colours"}), ("[[-1]]", JSON))
    assert [responses[index].json for index in (0, 2)] == [[2], [2]]
    assert responses[1].status == 400


def test_row_that_the_model_rejects_fails_alone(
    digits_forest: Path, digits: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The call for all fails by it, and each then goes alone."""
    served = Served(digits_forest)
    images, targets = digits
    rows = [[image.ravel().tolist()] for image in (images[:2] + 0.5)]
    expected = [served.post(json.dumps(row)).json for row in rows]
    broken = [[float("inf")] * 64]  # numbers like the others'
    responses = served.post_all(*((json.dumps(body), JSON) for body in (rows[0], broken, rows[1])))
    assert [responses[index].json for index in (0, 2)] == expected == [[target] for target in targets[:2]]
    assert (responses[1].status, "contains infinity" in str(responses[1].error)) == (400, True)
    assert predictions(served, *rows) == expected
    assert "batching is disabled" not in caplog.text


def test_bad_request_in_a_batch_fails_alone(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    source = COUNTS.replace("counts = [", "assert 13 not in rows, 'thirteen'\n        counts = [") + "LIST = False\n"
    served = unverified(archive, source)
    predictions(served, [[1]], [[2]])
    responses = served.post_all(("[[-1]]", JSON), ("[[13]]", JSON), ("[[-2]]", JSON))
    assert [responses[index].json for index in (0, 2)] == [[1], [1]]
    assert str(responses[1].error).startswith("thirteen") and responses[1].error.phase == "predict"
    assert predictions(served, [[-1]], [[-2]]) == [[2], [2]]
    assert "batching is disabled" not in caplog.text


def test_output_without_rows_is_computed_one_by_one(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    """A list may be anything; the log says once why there are no more batches."""
    served = unverified(archive, COUNTS + "LIST = True\n")
    for _ in range(2):
        assert predictions(served, [[-1]], [[-2], [-3]]) == [[1], [2, 2]]
    assert caplog.text.count("batching is disabled for this model: InseparableError: the output for 3 rows") == 1


def test_tables_are_batched(named_pipeline: Path) -> None:
    served = Served(named_pipeline)
    red, blue = {"size": 1.0, "colour": "red"}, {"colour": "blue", "size": 2.0}
    assert predictions(served, red, [blue, red], blue) == [
        {"prediction": "warm"},
        ["cold", "warm"],
        {"prediction": "cold"},
    ]
    responses = served.post_all((json.dumps(red), JSON), (json.dumps({"size": 2.0}), JSON))
    assert responses[0].json == {"prediction": "warm"}
    assert "without ['colour']" in str(responses[1].error)


def test_real_estimator_predicts_in_a_batch_as_alone(archive: Archive, digits: tuple[Any, Any]) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.multioutput import MultiOutputClassifier

    images, targets = digits
    rows = images.reshape(-1, 64)[:200]
    both = numpy.stack([targets[:200], targets[:200] % 2], axis=1)
    model = MultiOutputClassifier(RandomForestClassifier(n_estimators=3, random_state=0)).fit(rows, both)
    served = Served(archive(**{"model.pkl": pickle.dumps(model)}))
    bodies = [rows[:1].tolist(), rows[1:4].tolist(), rows[4:5].tolist()]
    for output in ("predictions", "probabilities"):
        headers = {ATTRIBUTES: f"output={output}"}
        alone = [served.post(json.dumps(body), **headers).json for body in bodies]
        assert predictions(served, *bodies, **headers) == alone


def torch_archive(archive: Archive, tmp_path: Path, model: Any) -> Path:
    pytest.importorskip("torch")
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(model).save(str(tmp_path / "m.pt"))
    return archive(**{"model.pt": (tmp_path / "m.pt").read_bytes()})


def test_torch_outputs_in_a_dict_are_batched(archive: Archive, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import torch

    class Several(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, list[torch.Tensor]]:
            joined = (x[:, 0] < 0) * x.shape[0]  # the number of rows, where a row begins below zero
            return {"sums": [x.sum(1), joined], "twice": [2 * x]}

    served = Served(torch_archive(archive, tmp_path, Several()))
    predictions(served, [[1, 2]], [[3, 4]])
    assert predictions(served, [[-1, 2]], [[-3, 4], [-5, 6]]) == [
        {"sums": [[1], [3]], "twice": [[-2, 4]]},
        {"sums": [[1, 1], [3, 3]], "twice": [[-6, 8], [-10, 12]]},
    ]


def test_torch_model_of_one_row_is_not_batched(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("torch")
    import torch

    class One(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(1, 2) + 1

    served = Served(torch_archive(archive, tmp_path, One()))
    assert predictions(served, [[1, 2]], [[3, 4]]) == [[[2, 3]], [[4, 5]]]
    assert caplog.text.count("batching is disabled for this model: BadBodyError") == 1


def test_pictures_and_rows_are_batched_for_mxnet(mxnet_net: Path, archive: Archive) -> None:
    grid = numpy.arange(36 * 3).reshape(6, 6, 3)
    rows = npy(numpy.moveaxis(numpy.stack([grid, grid]), 3, 1).astype(numpy.float32))
    served = Served(archive(mxnet_net, **{"net-shapes.json": '[{"shape": [4, 3, 6, 6], "name": "data"}]'}))
    requests = [
        (picture(grid), {"Content-Type": "image/png"}),
        (rows, {"Content-Type": "application/x-npy"}),
        (picture(grid[::-1]), {"Content-Type": "image/png"}),
    ]
    alone = [served.post(body, headers["Content-Type"]).json for body, headers in requests]
    assert [response.json for response in served.post_all(*requests)] == alone


def test_pictures_and_rows_are_batched_for_torch(torch_script: Path, archive: Archive) -> None:
    served = Served(archive(torch_script, **{"labels.txt": "light\ndark\n"}))
    pixels = numpy.arange(16).reshape(4, 4)
    pictures: list[tuple[bytes | str, dict[str, str]]] = [
        (picture(pixels), {"Content-Type": "image/png"}),
        (json.dumps(pixels.tolist()), JSON),
    ]
    first, second = (response.json for response in served.post_all(*pictures))
    assert second == [first] and first[0].endswith("class=light")


@pytest.mark.parametrize("output", [[], {}, (), "text", None, 3, numpy.float32(1), numpy.zeros(4), [numpy.zeros(3), 1]])
def test_inseparable_outputs(output: Any) -> None:
    with pytest.raises(InseparableError, match="the output for 3 rows"):
        split(output, [1, 2])
