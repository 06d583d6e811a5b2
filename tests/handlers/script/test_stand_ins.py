"""Scripts that import helpers of SageMaker's own images."""

import importlib
import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadBodyError, BadScriptError
from polyhost.handlers.script import stand_ins
from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy

# In the manner of AWS's example of an inference pipeline with scikit-learn.
PIPELINE = """
import json
from sagemaker_containers.beta.framework import (
    content_types, encoders, env, modules, transformer, worker)

def model_fn(model_dir):
    return 2

def input_fn(input_data, content_type):
    return encoders.decode(input_data, content_type)

def predict_fn(input_data, model):
    return model * input_data

def output_fn(prediction, accept):
    if accept == content_types.JSON:
        instances = [{"features": row} for row in prediction.tolist()]
        return worker.Response(json.dumps({"instances": instances}), accept, mimetype=accept)
    return worker.Response(encoders.encode(prediction, accept), mimetype=accept)
"""


@pytest.fixture(autouse=True)
def own_finders() -> Iterator[None]:
    """Keep stand-ins out of the next test."""
    modules = set(sys.modules)
    stand_ins.install()
    yield
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, stand_ins.Finder)]
    for name in set(sys.modules) - modules:
        if isinstance(sys.modules[name], stand_ins.StandIn):
            del sys.modules[name]


def imported(name: str) -> Any:
    return importlib.import_module(name)


def test_script_of_the_inference_pipeline(archive: Archive) -> None:
    served = Served(archive(**{"inference.py": PIPELINE}))
    body = "1,2\n3,4.5"
    response = served.post(body, "text/csv", Accept="application/json")
    assert response.json == {"instances": [{"features": [2, 4]}, {"features": [6, 9]}]}
    response = served.post(body, "text/csv", Accept="text/csv")
    assert (response.body, response.content_type) == (b"2.0,4.0\n6.0,9.0\n", "text/csv")
    response = served.post(npy([[1, 2]]), "application/x-npy", Accept="application/x-npy")
    assert (response.body, response.content_type) == (npy([[2, 4]]), "application/x-npy")


@pytest.mark.parametrize(
    ("content_type", "accept", "status", "named"),
    [("image/png", "text/csv", 415, "'image/png'"), ("text/csv", "image/png", 406, "'image/png'")],
)
@pytest.mark.parametrize("package", ["sagemaker_containers.beta.framework.encoders", "sagemaker_inference"])
def test_media_types_that_the_encoders_do_not_have(
    archive: Archive, package: str, content_type: str, accept: str, status: int, named: str
) -> None:
    source = PIPELINE
    if package == "sagemaker_inference":
        source = source.replace("def input_fn", "from sagemaker_inference import encoder as encoders\ndef input_fn")
        source = source.replace("encoders.decode(", "__import__('sagemaker_inference.decoder').decoder.decode(")
        named = "image/png"
    served = Served(archive(**{"inference.py": source}))
    error = served.post("1,2", content_type, Accept=accept)
    assert (error.status, named in str(error.error)) == (status, True)


def test_the_toolkits_modules_are_there(archive: Archive) -> None:
    """The toolkit is installed with polyhost[serve], behind either front end."""
    source = """
from sagemaker_inference import content_types, decoder, default_inference_handler, encoder, errors, utils
def model_fn(model_dir):
    return None
def input_fn(body, content_type):
    if body == "refuse":
        raise errors.BaseInferenceToolkitError(422, "too few columns", "few columns")
    return decoder.decode(body, content_type)
def predict_fn(data, model):
    return data + 1
def output_fn(prediction, accept):
    return encoder.encode(prediction, accept), accept
"""
    served = Served(archive(**{"inference.py": source}))
    assert served.post("[1, 2]").json == [2, 3]
    assert served.post("1,2", "text/csv", Accept="text/csv").body == b"2\n3\n"
    assert served.post("refuse").error.status_code == 422


@pytest.mark.parametrize(
    ("call", "status", "headers", "content_type"),
    [
        ("worker.Response('[1]', mimetype=accept)", None, {}, "application/json"),
        ("worker.Response('[1]', accept, mimetype='text/x')", None, {}, "text/x"),
        ("worker.Response(b'[1]', status=202)", 202, {}, "application/json"),
        ("worker.Response([1], status='201 CREATED', headers={'X-A': 'b'})", 201, {"X-A": "b"}, "application/json"),
        (
            "worker.Response('[1]', headers=[('Content-Type', 'a/b; c=d'), ('X-A', 'b')])",
            None,
            {"X-A": "b"},
            "a/b; c=d",
        ),
        ("(worker.Response('[1]'), 'text/y')", None, {}, "text/y"),
    ],
)
@pytest.mark.parametrize(
    "function", ["output_fn(prediction, accept)", "transform_fn(model, body, content_type, accept)"]
)
def test_responses(
    archive: Archive, function: str, call: str, status: int | None, headers: dict[str, str], content_type: str
) -> None:
    source = "from sagemaker_containers.beta.framework import worker\ndef model_fn(d):\n    return len\n"
    served = Served(archive(**{"inference.py": f"{source}def {function}:\n    return {call}\n"}))
    response = served.post("[[1]]")
    assert (response.body, response.content_type) == (b"[1]", content_type)
    assert served.context.get_response_status(0)[0] == (status or 200)
    sent = served.context.get_response_headers(0)
    assert {name: value for name, value in sent.items() if name.lower() != "content-type"} == headers


def test_members_of_a_response() -> None:
    response = imported("sagemaker_containers.beta.framework.worker").Response("é", mimetype="text/csv")
    assert (response.data, response.get_data(as_text=True), response.content_type) == ("é".encode(), "é", "text/csv")
    response.set_data(b"2")
    assert (response.get_data(as_text=True), response.status_code, response.mimetype) == ("2", 200, "text/csv")


def test_encoders() -> None:
    encoders = imported("sagemaker_containers._encoders")
    assert encoders is not imported("sagemaker_containers.beta.framework").encoders
    assert encoders.csv_to_numpy("1,2\n3,4").tolist() == [[1, 2], [3, 4]]
    assert encoders.csv_to_numpy("1,2", dtype="int8").dtype == numpy.int8
    assert encoders.csv_to_numpy("red,2").tolist() == ["red", "2"]
    assert encoders.json_to_numpy("[[1, 2]]", dtype="float32").dtype == numpy.float32
    assert encoders.npy_to_numpy(encoders.array_to_npy([1, 2])).tolist() == [1, 2]
    assert json.loads(encoders.array_to_json({"a": numpy.ones(2)})) == {"a": [1, 1]}
    assert encoders.array_to_csv([1, 2]) == "1\n2\n"
    assert encoders.decode("1,2", "text/csv; charset=utf-8").tolist() == [1, 2]
    with pytest.raises(ValueError, match="allow_pickle"):
        encoders.decode(npy(numpy.array([{}], dtype=object)), "application/x-npy")
    for text, dtype in (("red", float), ("1,2\n3", None)):
        with pytest.raises(imported("sagemaker_containers._errors").ClientError, match="the CSV cannot be read"):
            encoders.csv_to_numpy(text, dtype)


def test_encoders_of_hugging_face(archive: Archive) -> None:
    source = """
from sagemaker_huggingface_inference_toolkit import content_types, decoder_encoder
def model_fn(model_dir):
    return len
def transform_fn(model, body, content_type, accept):
    data = decoder_encoder.decode(body, content_type)
    return decoder_encoder.encode([{"length": model(text)} for text in data["inputs"]], accept)
"""
    served = Served(archive(**{"inference.py": source}))
    assert served.post('{"inputs": ["a", "bcd"]}').json == [{"length": 1}, {"length": 3}]
    assert served.post("inputs\na b\n", "text/csv", Accept="text/csv").body == b"length\n3\n"
    decode = imported("sagemaker_huggingface_inference_toolkit.decoder_encoder").decode
    with pytest.raises(BadBodyError, match="a header with one of question, context, inputs"):
        decode("1,2\n3,4\n", "text/csv")
    assert decode("question,context\nq,c\n", "text/csv") == {"inputs": [{"question": "q", "context": "c"}]}


@pytest.fixture
def xgboost(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stand for xgboost, which is not installed here, as far as the encoders call it: DMatrix is its data."""
    module = ModuleType("xgboost")
    module.DMatrix = lambda data: data  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xgboost", module)
    return module


def test_encoders_of_xgboost(xgboost: ModuleType) -> None:
    encoder = imported("sagemaker_xgboost_container").encoder
    matrix = encoder.csv_to_dmatrix("1,,3\n4,5,6")
    assert (matrix.tolist()[1], numpy.isnan(matrix).tolist()[0]) == ([4, 5, 6], [False, True, False])
    assert encoder.libsvm_to_dmatrix(b"1 0:2 2:0.5\n0\n1:3").toarray().tolist() == [[2, 0, 0.5], [0, 0, 0], [0, 3, 0]]
    assert encoder.decode("0 0:1", "text/libsvm; charset=utf-8").toarray().tolist() == [[1]]
    assert encoder.json_to_jsonlines('{"predictions": [{"score": 1}, 2]}') == b'{"score": 1}\n2\n'
    with pytest.raises(Exception, match="'application/x-recordio-protobuf' is not supported"):
        encoder.decode(b"", "application/x-recordio-protobuf")


# What has no stand-in


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        ("from sagemaker_containers.beta.framework import training_env", "what an inference.py needs is there: "),
        ("from sagemaker_containers.beta.framework.encoders import array_to_recordio_protobuf", "what an inference.py"),
        (
            "from sagemaker_containers.beta.framework import env\nenv.ServingEnv()",
            "model_fn is given the model's folder",
        ),
        ("from sagemaker_xgboost_container import distributed", "for the rest use xgboost itself"),
        ("from sagemaker_xgboost_container.data_utils import get_dmatrix", "for the rest use xgboost itself"),
        ("import sagemaker_training.environment", "training scripts need it, serving does not"),
        ("from sagemaker_sklearn_container.serving import default_input_fn", "leave input_fn, predict_fn or output_fn"),
        ("import sagemaker", "for clients of an endpoint"),
    ],
)
def test_what_is_not_there_is_explained(archive: Archive, statement: str, remedy: str) -> None:
    with pytest.raises(BadScriptError) as raised:
        Served(archive(**{"inference.py": f"{statement}\ndef model_fn(d):\n    return len\n"}))
    assert remedy in str(raised.value)
    assert str(raised.value).startswith("inference.py")


def test_optional_imports_stay_optional(archive: Archive) -> None:
    source = "try:\n    from sagemaker_containers.beta.framework import trainer\nexcept ImportError:\n    trainer = 7\n"
    source += "def model_fn(d):\n    return lambda rows: [trainer]\n"
    assert Served(archive(**{"inference.py": source})).post("[[1]]").json == [7]


def test_modules_of_the_archive_and_installed_ones_come_first(archive: Archive) -> None:
    source = "import sagemaker_containers\ndef model_fn(d):\n    return lambda rows: sagemaker_containers.NAME\n"
    folder = archive(**{"inference.py": source, "sagemaker_containers.py": "NAME = 'its own'\n"})
    assert Served(folder).post("[[1]]").json == "its own"
    assert not isinstance(imported("sagemaker_inference.encoder"), stand_ins.StandIn)
