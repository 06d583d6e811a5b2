"""Models of ONNX: some written node by node, some converted from scikit-learn."""

import json
from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadModelError
from tests.handlers.conftest import Archive
from tests.handlers.served import ATTRIBUTES, Served, npy, picture

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper
FLOAT, INT64, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
WEIGHTS = numpy.arange(8, dtype="f4").reshape(4, 2)

Shape = list[Any] | None


def model(
    nodes: list[Any],
    inputs: dict[str, tuple[int, Shape]],
    outputs: dict[str, tuple[int, Shape]],
    opset: int = 13,
    ir: int = 8,
    **weights: Any,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(numpy.asarray(array), name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    return bytes(made.SerializeToString())


def linear(rows: Any = "n", **options: int) -> bytes:
    """Return a model of four numbers a row, with the answers `rows @ WEIGHTS`."""
    return model(
        [helper.make_node("MatMul", ["data", "w"], ["scores"])],
        {"data": (FLOAT, [rows, 4])},
        {"scores": (FLOAT, [rows, 2])},
        w=WEIGHTS,
        **options,
    )


def two_inputs(rows: Any = "n") -> bytes:
    """Return a model whose outputs are the sum and the difference of its inputs."""
    return model(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        {"a": (FLOAT, [rows, 2]), "b": (FLOAT, [rows, 2])},
        {"sum": (FLOAT, [rows, 2]), "difference": (FLOAT, [rows, 2])},
    )


ROWS = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
ANSWERS = [[0.0, 1.0], [6.0, 7.0]]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps(ROWS), "application/json"),
        (json.dumps({"data": ROWS}), "application/json"),
        (json.dumps({"instances": ROWS}), "application/json"),
        (json.dumps([{"data": row} for row in ROWS]), "application/json"),
        (
            json.dumps(
                {"inputs": [{"name": "data", "shape": [2, 4], "datatype": "FP32", "data": [*ROWS[0], *ROWS[1]]}]}
            ),
            "application/json",
        ),
        ("\n".join(map(json.dumps, ROWS)), "application/jsonlines"),
        ("1,0,0,0\n0,0,0,1\n", "text/csv"),
        ("p,q,r,s\n1,0,0,0\n0,0,0,1\n", "text/csv"),
        (npy(ROWS), "application/x-npy"),
        (npy(numpy.asarray(ROWS, "i8")), "application/x-npy"),
    ],
)
def test_rows_in_every_media_type_give_the_same_answers(archive: Archive, body: Any, content_type: str) -> None:
    served = Served(archive(**{"net.onnx": linear(), "config.json": "{}"}))
    response = served.post(body, content_type, Accept="text/csv")
    assert response.body == b"0.0,1.0\n6.0,7.0\n"


def test_one_row(archive: Archive) -> None:
    served = Served(archive(**{"net.onnx": linear()}))
    assert served.post(json.dumps(ROWS[1])).json == ANSWERS[1:]
    assert served.post(json.dumps({"data": ROWS[1]})).json == {"prediction": ANSWERS[1]}
    assert served.post(json.dumps({"data": ROWS[1]}), Accept="application/jsonlines").body


@pytest.mark.parametrize("rows", [1, 2])
def test_model_of_a_fixed_number_of_rows_is_called_in_parts(archive: Archive, rows: int) -> None:
    served = Served(archive(**{"net.onnx": linear(rows)}))
    assert served.post(json.dumps(ROWS + ROWS)).json == ANSWERS + ANSWERS
    if rows == 2:
        error = served.post(json.dumps(ROWS[:1])).error
        assert (error.status, "expected 'data': float32[2, 4], given {'data': [1, 4]}" in str(error)) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        {"a": [[5, 6], [7, 8]], "b": [[1, 1], [2, 2]]},
        [{"a": [5, 6], "b": [1, 1]}, {"b": [2, 2], "a": [7, 8]}],
        {
            "inputs": [
                {"name": "b", "shape": [2, 2], "datatype": "FP32", "data": [1, 1, 2, 2]},
                {"name": "a", "shape": [2, 2], "datatype": "FP32", "data": [5, 6, 7, 8]},
            ]
        },
    ],
    ids=["object", "rows", "V2"],
)
def test_several_inputs_and_outputs_by_name(archive: Archive, body: Any) -> None:
    served = Served(archive(**{"net.onnx": two_inputs()}))
    answer = served.post(json.dumps(body)).json
    answer = answer.get("prediction", answer)
    assert answer == {"sum": [[6, 7], [9, 10]], "difference": [[4, 5], [5, 6]]}
    assert served.post(json.dumps(body), **{ATTRIBUTES: "output=difference"}).json in (
        [[4, 5], [5, 6]],
        {"prediction": [[4, 5], [5, 6]]},
    )


def test_one_object_of_several_inputs(archive: Archive) -> None:
    served = Served(archive(**{"net.onnx": two_inputs()}))
    answer = {"prediction": {"sum": [6.0, 7.0], "difference": [4.0, 5.0]}}
    assert served.post('{"a": [5, 6], "b": [1, 1]}').json == answer


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("[[1, 2, 3]]", 400, "wrong shape: expected 'data': float32[n, 4], given [1, 3]"),
        ('{"data": [[1, 2, 3]]}', 400, "expected 'data': float32[n, 4], given [1, 3]"),
        ("[[[[1, 2, 3, 4]], [[5, 6, 7, 8]]]]", 400, "expected 'data': float32[n, 4], given [1, 2, 1, 4]"),
        ('[["x", 2, 3, 4]]', 400, "the input 'data': the body holds something that is not a number"),
        ("[[1, 2, 3, 4], [1, 2]]", 400, "the input 'data': the rows are not alike: row 1 has 2 values"),
        ("[[1, 2, 3, 1e39]]", 400, "the model takes float32, which cannot hold 1e+39"),
    ],
)
def test_rows_that_do_not_fit(archive: Archive, body: str, status: int, text: str) -> None:
    response = Served(archive(**{"net.onnx": linear()})).post(body)
    assert response.status == status
    assert text in str(response.error)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "[[1, 2, 3, 4]]",
            "inputs 'a': float32[n, 2]; 'b': float32[n, 2]: send an object with a value for each; given",
        ),
        ('{"a": [1, 2]}', "send an object with a value for each; given ['a']"),
        ('{"a": [1, 2], "b": [1, 2, 3]}', "expected 'b': float32[n, 2], given [3]"),
        ('{"a": [[1, 2]], "b": [[1, 2], [3, 4]]}', "expected as many rows for each input, given {'a': 1, 'b': 2}"),
    ],
)
def test_inputs_that_do_not_fit(archive: Archive, body: str, text: str) -> None:
    response = Served(archive(**{"net.onnx": two_inputs()})).post(body)
    assert response.status == 400
    assert text in str(response.error)


def test_unknown_output(archive: Archive) -> None:
    response = Served(archive(**{"net.onnx": two_inputs()})).post(
        '{"a": [1, 2], "b": [1, 2]}', **{ATTRIBUTES: "output=x"}
    )
    assert response.status == 400
    assert "output=x is unknown; use one of sum, difference" in str(response.error)


def test_sizes_that_may_be_any(archive: Archive) -> None:
    """Tokens: rows of any length, the same for all of a body."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["found"]),
        helper.make_node("ReduceMean", ["found"], ["mean"], axes=[1], keepdims=0),
    ]
    tokens = model(nodes, {"ids": (INT64, ["n", "length"])}, {"mean": (FLOAT, ["n", 2])}, table=WEIGHTS)
    served = Served(archive(**{"net.onnx": tokens}))
    assert served.post("[[0, 1], [3, 3]]").json == [[1, 2], [6, 7]]
    assert served.post("[[0, 1, 2]]").json == [[2, 3]]
    assert served.post('{"ids": [3]}').json == {"prediction": [6, 7]}
    assert served.post("[[0.5, 1]]").status == 400
    response = served.post("[[9, 0]]")
    assert response.status == 400
    assert "cannot take the input 'ids': int64[1, 2]: " in str(response.error)
    assert "indices element out of data bounds" in str(response.error) and "ONNXRuntimeError" not in str(response.error)


def test_text(archive: Archive) -> None:
    upper = model(
        [helper.make_node("Identity", ["words"], ["same"])], {"words": (TEXT, ["n", 1])}, {"same": (TEXT, None)}
    )
    served = Served(archive(**{"net.onnx": upper}))
    assert served.post('[["a"], ["걷다"]]').json == [["a"], ["걷다"]]
    assert served.post('["a", "걷다"]').json == [["a"], ["걷다"]]
    assert served.post("007\n8\n", "text/csv").json == [["007"], ["8"]]
    response = served.post("[[1]]")
    assert (response.status, "the input 'words': it takes text; given 1" in str(response.error)) == (400, True)


def test_picture(archive: Archive) -> None:
    nodes = [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0)]
    net = model(nodes, {"image": (FLOAT, [1, 3, 4, 4])}, {"mean": (FLOAT, [1])})
    served = Served(archive(**{"net.onnx": net}))
    assert served.post(picture(numpy.full((9, 9, 3), 100)), "image/png").json == pytest.approx([100])
    response = Served(archive(**{"net.onnx": two_inputs()})).post(picture(numpy.ones((2, 2))), "image/png")
    assert (response.status, "an image does not fit the model's inputs, 'a': float32[n, 2]" in str(response.error)) == (
        415,
        True,
    )


def test_labels(archive: Archive) -> None:
    served = Served(archive(**{"net.onnx": linear(), "labels.txt": "cat\ndog\n"}))
    assert [row[0] for row in served.post(json.dumps(ROWS[1:])).json] == ["probability=0.731059, class=dog"]


# Converted from scikit-learn


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convert a pipeline that was fitted on a table: an input for each column, and two outputs."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    import pandas
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    table = pandas.DataFrame({"colour": ["red", "blue"] * 10, "size": [1.0, 2.0, 3.0, 4.0] * 5})
    encode = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    pipeline = make_pipeline(encode, LogisticRegression()).fit(table, ["warm", "cold"] * 10)
    types = [("colour", StringTensorType([None, 1])), ("size", FloatTensorType([None, 1]))]
    folder = tmp_path_factory.mktemp("converted")
    (folder / "model.onnx").write_bytes(
        skl2onnx.to_onnx(pipeline, initial_types=types, target_opset=17).SerializeToString()
    )
    return folder


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('[{"size": 1, "colour": "red"}, {"size": 2, "colour": "blue"}]', "application/json"),
        ('[["red", 1], ["blue", 2]]', "application/json"),
        ('{"colour": ["red", "blue"], "size": [1, 2]}', "application/json"),
        ("red,1\nblue,2\n", "text/csv"),
        ("size,colour\n1,red\n2,blue\n", "text/csv"),
    ],
)
def test_columns_and_probabilities_by_class(converted: Path, body: str, content_type: str) -> None:
    served = Served(converted)
    answer = served.post(body, content_type).json
    assert answer["output_label"] == ["warm", "cold"]
    assert [max(row, key=row.get) for row in answer["output_probability"]] == ["warm", "cold"]
    chosen = served.post(body, content_type, Accept="text/csv", **{ATTRIBUTES: "output=output_label"})
    assert chosen.body == b"warm\ncold\n"
    assert served.post(body, content_type, Accept="text/csv").status == 406


def test_one_object_of_columns(converted: Path) -> None:
    answer = Served(converted).post('{"colour": "red", "size": 1}').json["prediction"]
    assert answer["output_label"] == "warm"
    assert answer["output_probability"]["warm"] > 0.5


# Batches


def test_batches_are_answered_as_alone(archive: Archive, converted: Path) -> None:
    served = Served(archive(**{"net.onnx": two_inputs()}))
    bodies = ['{"a": [5, 6], "b": [1, 1]}', '{"a": [[7, 8], [1, 1]], "b": [[2, 2], [0, 0]]}', '{"a": 1}']
    requests = [(body, {"Content-Type": "application/json"}) for body in bodies]
    columns = [(json.dumps({"colour": colour, "size": 1}), requests[0][1]) for colour in ("red", "blue")]
    pipeline = Served(converted)
    for _ in range(2):  # the first batch is computed both ways
        first, second, third = served.post_all(*requests)
        assert first.json["prediction"]["sum"] == [6, 7]
        assert second.json["prediction"]["difference"] == [[5, 6], [1, 1]]
        assert third.status == 400
        answers = [response.json["prediction"]["output_label"] for response in pipeline.post_all(*columns)]
        assert answers == ["warm", "cold"]


# Files that cannot be served


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (linear()[:60], "net.onnx cannot be loaded by onnxruntime"),
        (b"", "No graph was found in the protobuf"),
        (b"hello world", "rotobuf parsing failed"),
        (linear(ir=99), "Unsupported model IR version: 99"),
        (linear(opset=999), "domain ai.onnx is till opset"),
        (
            model([helper.make_node("Magic", ["a"], ["b"])], {"a": (FLOAT, [1])}, {"b": (FLOAT, [1])}),
            "Magic",
        ),
    ],
    ids=["truncated", "empty", "text", "newer format", "newer operators", "unknown operator"],
)
def test_damaged_file(archive: Archive, content: bytes, text: str) -> None:
    with pytest.raises(BadModelError) as raised:
        Served(archive(**{"net.onnx": content}))
    assert "net.onnx cannot be loaded by onnxruntime" in str(raised.value)
    assert text in str(raised.value)
    assert "[ONNXRuntimeError]" not in str(raised.value) and "/onnxruntime_src" not in str(raised.value)


def external(location: str) -> bytes:
    """Return a model whose weights lie in another file."""
    made = onnx.ModelProto.FromString(linear())
    weights = made.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    return bytes(made.SerializeToString())


def test_weights_in_a_file_of_their_own(archive: Archive) -> None:
    served = Served(archive(**{"net.onnx": external("net.onnx_data"), "net.onnx_data": WEIGHTS.tobytes()}))
    assert served.post(json.dumps(ROWS)).json == ANSWERS


@pytest.mark.parametrize("location", ["missing.bin", "../../../../etc/passwd"])
def test_weights_that_are_not_in_the_archive(archive: Archive, location: str) -> None:
    with pytest.raises(BadModelError, match="External data path"):
        Served(archive(**{"net.onnx": external(location)}))


def test_a_scripts_session(archive: Archive) -> None:
    made = "onnxruntime.InferenceSession(folder + '/weights')"
    script = f"import onnxruntime\ndef model_fn(folder):\n    return {made}\n"
    served = Served(archive(**{"inference.py": script, "weights": linear()}))
    assert served.post(json.dumps(ROWS)).json == ANSWERS
