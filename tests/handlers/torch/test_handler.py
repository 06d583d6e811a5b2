import io
import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadModelError, WrongLabelsError
from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy, picture

pytest.importorskip("torch")
import torch

PIXELS = numpy.arange(16).reshape(4, 4)
SAMPLES = numpy.stack([PIXELS, PIXELS + 1]).reshape(2, 1, 4, 4).astype(numpy.float32)


@pytest.fixture(params=["torch_script", "torch_program"])
def model(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder


def test_arrays_give_scores(model: Path) -> None:
    served = Served(model)
    assert served.post(npy(SAMPLES), "application/x-npy").json == [[120, -120], [136, -136]]
    assert served.post(npy(SAMPLES.astype(">f8")), "application/x-npy").json == [[120, -120], [136, -136]]
    assert served.post(json.dumps(SAMPLES.tolist()), Accept="text/csv").body == b"120.0,-120.0\n136.0,-136.0\n"


@pytest.mark.parametrize("name", ["model.jit", "model.pth", "net.pt"])
def test_suffix_says_nothing(torch_script: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(torch_script / "model.pt", tmp_path / name)
    assert Served(tmp_path).post(npy(SAMPLES), "application/x-npy").json == [[120, -120], [136, -136]]


def test_file_that_is_no_torch_script(tmp_path: Path) -> None:
    (tmp_path / "model.jit").write_bytes(b"no archive")
    with pytest.raises(BadModelError, match=r"model\.jit is neither TorchScript nor a program"):
        Served(tmp_path)


def test_shapes_file_allows_flat_rows_and_images(torch_script: Path) -> None:
    served = Served(torch_script)
    assert served.post(json.dumps(SAMPLES.reshape(2, 16).tolist())).json == [[120, -120], [136, -136]]
    assert served.post(json.dumps({"pixels": PIXELS.tolist()})).json == {"prediction": [120, -120]}
    assert served.post(picture(PIXELS), "image/png").json == [[120, -120]]
    assert served.post(picture(numpy.full((16, 16, 3), 7)), "image/png").json == [[112, -112]]


@pytest.mark.parametrize("name", ["pixels", "inputs", "data"])
def test_rows_in_the_shapes_of_other_servers(torch_script: Path, archive: Archive, name: str) -> None:
    """Also where the model's input has the name of an envelope."""
    shapes = json.dumps([{"shape": [1, 1, 4, 4], "name": name}])
    served = Served(archive(torch_script, **{"shapes.json": shapes}))
    rows, nested = SAMPLES.reshape(2, 16).tolist(), SAMPLES.tolist()
    tensor = {"shape": [2, 1, 4, 4], "datatype": "FP32", "data": numpy.ravel(SAMPLES).tolist()}
    for body in (
        {"instances": rows},
        {"instances": [{name: row} for row in nested]},
        {"instances": [{"features": row} for row in rows]},
        {"ndarray": nested},
        {"columns": list(range(16)), "data": rows} if name == "pixels" else {"features": rows},
        {"inputs": [tensor | {"name": name}]} if name != "inputs" else {"features": rows},
        {"inputs": [tensor | {"name": "x"}]} if name != "inputs" else {"instances": nested},
        {"inputs": {name: nested}} if name != "inputs" else {"instances": nested},
    ):
        assert served.post(json.dumps(body)).json == [[120, -120], [136, -136]], list(body)
    assert served.post(json.dumps({name: rows})).json == {"prediction": [[120, -120], [136, -136]]}
    assert served.post(json.dumps({name: rows[0]})).json == {"prediction": [120, -120]}


def test_rows_without_a_shapes_file(torch_program: Path) -> None:
    served = Served(torch_program)
    tensor = {"name": "x", "shape": [2, 1, 4, 4], "datatype": "FP32", "data": SAMPLES.tolist()}
    for body in ({"inputs": [tensor]}, {"inputs": SAMPLES.tolist()}, {"data": {"ndarray": SAMPLES.tolist()}}):
        assert served.post(json.dumps(body)).json == [[120, -120], [136, -136]]
    response = served.post(json.dumps({"inputs": [tensor | {"shape": [2, 16, 2]}]}))
    assert (response.status, "the input 'x' has the shape [2, 16, 2], for 64 values" in str(response.error)) == (
        400,
        True,
    )


def test_labels_give_the_five_best_classes(torch_script: Path, archive: Archive) -> None:
    served = Served(archive(torch_script, **{"labels.txt": "plus\nminus\n"}))
    expected = ["probability=1.000000, class=plus", "probability=0.000000, class=minus"]
    assert served.post(picture(PIXELS), "image/png").json == expected
    assert served.post(npy(SAMPLES), "application/x-npy").json == [expected, expected]


class Pair(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class Named(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"scores": x, "twice": 2 * x}


class Matrix(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unsqueeze(1).repeat(1, 2, 1)


class Sums(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1)


@pytest.mark.parametrize("network", [Pair, Named, Matrix, Sums])
def test_labels_are_for_rows_of_scores(archive: Archive, network: type[torch.nn.Module]) -> None:
    served = Served(archive(**{"model.pt2": _exported(network(), torch.zeros(1, 2)), "labels.txt": "plus\nminus\n"}))
    response = served.post("[[1, 2]]")
    assert isinstance(response.error, WrongLabelsError)
    assert str(response.error).startswith("labels need")


def test_scores_may_have_axes_of_one(archive: Archive) -> None:
    class Pooled(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, None, None]

    served = Served(archive(**{"model.pt2": _exported(Pooled(), torch.zeros(1, 2)), "labels.txt": "plus\nminus\n"}))
    assert served.post("[[0.25, 0.75]]").json == [
        ["probability=0.750000, class=minus", "probability=0.250000, class=plus"]
    ]


class Difference(torch.nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left - right


@pytest.mark.parametrize("kind", ["script", "program", "module"])
def test_several_inputs_need_a_shapes_file(archive: Archive, kind: str) -> None:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Difference()), stream)
    kinds: dict[str, dict[str, Any]] = {
        "script": {"model.pt": stream.getvalue()},
        "program": {"model.pt2": _exported(Difference(), torch.zeros(1, 2), torch.zeros(1, 2))},
        "module": {"inference.py": f"import torch\nfrom {__name__} import *\ndef model_fn(d): return Difference()\n"},
    }
    body = json.dumps({"right": [1, 1], "left": [3, 4]})
    files = kinds[kind]
    response = Served(archive(**files)).post(body)
    assert (response.status, "add a shapes.json that names each" in str(response.error)) == (400, True)

    files["shapes.json"] = '[{"shape": [1, 2], "name": "left"}, {"shape": [1, 2], "name": "right"}]'
    served = Served(archive(**files))
    assert served.post(body).json == {"prediction": [2, 3]}
    if kind == "program":
        return  # exported for one row
    tensors = [
        {"name": "right", "shape": [2, 2], "datatype": "INT64", "data": [1, 1, 0, 0]},
        {"name": "left", "shape": [2, 2], "datatype": "FP32", "data": [[3, 4], [5, 6]]},
    ]
    assert served.post(json.dumps({"inputs": tensors})).json == [[2, 3], [5, 6]]
    batches = {"left": [[3, 4], [5, 6]], "right": [[1, 1], [0, 0]]}
    assert served.post(json.dumps({"inputs": batches})).json == [[2, 3], [5, 6]]
    assert served.post(json.dumps(batches)).json == {"prediction": [[2, 3], [5, 6]]}


def test_image_without_shapes_file_is_rejected(torch_program: Path) -> None:
    response = Served(torch_program).post(picture(PIXELS), "image/png")
    assert (response.status, "need a shapes.json" in str(response.error)) == (415, True)


def test_shape_that_the_file_rules_out(torch_script: Path) -> None:
    response = Served(torch_script).post("[[1, 2, 3]]")
    assert (response.status, "expected [n, 1, 4, 4] or n rows of 16 values" in str(response.error)) == (400, True)


def test_shape_that_only_the_model_rejects(model: Path, archive: Archive) -> None:
    folder = archive(model)
    (folder / "shapes.json").unlink(missing_ok=True)
    response = Served(folder).post("[[1, 2, 3]]")
    assert response.status == 400
    assert "input of shape [[1, 3]]" in str(response.error)


def test_text_is_rejected(torch_program: Path) -> None:
    served = Served(torch_program)
    assert "not a number" in str(served.post('[["a"]]').error)
    assert "given <U1" in str(served.post(npy([["a"]]), "application/x-npy").error)


def test_integers_of_an_array_stay_integers(archive: Archive) -> None:
    class Pick(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.eye(5)[tokens]

    served = Served(archive(**{"model.pt2": _exported(Pick(), torch.tensor([[1, 2]]))}))
    assert served.post(npy(numpy.array([[3, 0]])), "application/x-npy").json == [[[0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]]


def test_nested_outputs(archive: Archive) -> None:
    class Many(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            return {"twice": x * 2, "pair": (x.bfloat16(), x.sum())}

    served = Served(archive(**{"model.pt2": _exported(Many(), torch.zeros(1, 2))}))
    assert served.post("[[1, 2]]").json == {"twice": [[2, 4]], "pair": [[[1, 2]], 3]}


def test_nan_becomes_null(archive: Archive) -> None:
    class Divide(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 1 / x

    served = Served(archive(**{"model.pt2": _exported(Divide(), torch.ones(1, 2))}))
    assert served.post("[[0, 2]]").json == [[None, 0.5]]


@pytest.mark.parametrize("zipped", [True, False])
def test_state_dict_is_not_unpickled(archive: Archive, torch_net: Any, zipped: bool) -> None:
    stream = io.BytesIO()
    torch.save(torch_net.state_dict(), stream, _use_new_zipfile_serialization=zipped)
    kind = "state dict or a pickled module" if zipped else "but a pickle"
    with pytest.raises(BadModelError, match=rf"model\.pth is neither TorchScript.*{kind}.*torch\.export\.save"):
        Served(archive(**{"model.pth": stream.getvalue()}))


def test_pickle_with_another_suffix_does_not_run(archive: Archive, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    with pytest.raises(BadModelError, match="a pickle"):
        Served(archive(**{"model.pt": pickle.dumps(Bomb())}))
    assert not (tmp_path / "ran").exists()


def test_truncated_archive(archive: Archive, torch_script: Path) -> None:
    whole = (torch_script / "model.pt").read_bytes()
    with pytest.raises(BadModelError, match="damaged or truncated"):
        Served(archive(**{"model.pt": whole[: len(whole) // 2]}))


def test_damaged_code_in_an_archive(archive: Archive, torch_script: Path) -> None:
    whole = (torch_script / "model.pt").read_bytes()
    with pytest.raises(BadModelError, match=r"model\.pt cannot be loaded by PyTorch"):
        Served(archive(**{"model.pt": whole.replace(b"__torch__", b"__tarch__")}))


def test_two_shapes_files(archive: Archive, torch_script: Path) -> None:
    with pytest.raises(BadModelError, match=r"net-shapes\.json, shapes\.json; keep one"):
        Served(archive(torch_script, **{"net-shapes.json": "[]"}))


def test_missing_gpu_is_a_warning(torch_program: Path, caplog: pytest.LogCaptureFixture) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert Served(torch_program, gpu_id=0).post(npy(SAMPLES), "application/x-npy").json[0] == [120, -120]
    assert "GPU 0 was assigned" in caplog.text


def _exported(module: torch.nn.Module, *examples: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    torch.export.save(torch.export.export(module.eval(), examples), stream)
    return stream.getvalue()


def test_model_of_tokens_says_how_to_send_them(archive: Archive) -> None:
    """JSON's numbers become float32, as in SageMaker's image; an embedding takes whole ones only."""
    tokens = torch.tensor([[1, 2, 3]])
    program = _exported(torch.nn.Embedding(10, 2), tokens)
    served = Served(archive(**{"model.pt2": program}))
    rejected = served.post("[[1, 2, 3]]")
    assert rejected.status == 400
    assert "send application/x-npy of int64, or add a shapes.json with" in str(rejected.error)

    expected = served.post(npy(tokens.numpy()), "application/x-npy").json
    shapes = json.dumps([{"shape": [1, 3], "dtype": "int64"}])
    assert Served(archive(**{"model.pt2": program, "shapes.json": shapes})).post("[[1, 2, 3]]").json == expected
