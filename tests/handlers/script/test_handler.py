import importlib
import io
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from sagemaker_inference import content_types

from polyhost.handlers.errors import BadModelError
from polyhost.handlers.script import handler as script_handler
from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy, picture

ECHO = "def transform_fn(model, body, content_type, accept):\n    return repr((model, body, content_type, accept))\n"
ECHO += "def model_fn(model_dir):\n    return 'm'\n"

# All four functions, and a model of joblib's beside the script.
FOUR_FUNCTIONS = """
import json
import joblib
import os

def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib")), 2

def input_fn(request_body, request_content_type):
    assert request_content_type == "text/csv"
    return [[float(value) for value in request_body.split(",")]]

def predict_fn(input_data, model):
    forest, factor = model
    return factor * forest.predict(input_data)

def output_fn(prediction, accept):
    return json.dumps(prediction.tolist()), accept
"""


def test_script_with_all_four_functions(archive: Archive, moons_forest: Path) -> None:
    model = (moons_forest / "pickled_rf_model.p").read_bytes()
    served = Served(archive(**{"model.joblib": model, "inference.py": FOUR_FUNCTIONS}))
    assert served.post("2.0,-1.0", "text/csv", Accept="application/json").json == [2]


@pytest.mark.parametrize("place", ["inference.py", "code/inference.py"])
def test_script_without_other_files(archive: Archive, place: str) -> None:
    response = Served(archive(**{place: ECHO})).post("é", "text/csv; charset=utf-8", Accept="text/html, */*;q=0.1")
    assert (response.body.decode(), response.content_type) == (
        repr(("m", "é", "text/csv; charset=utf-8", "text/html")),
        "text/html",
    )


def test_script_name_by_the_environment(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "serve.py")
    folder = archive(**{"code/serve.py": ECHO, "code/inference.py": "raise RuntimeError('the wrong one')"})
    assert b"'m'" in Served(folder).post("x").body


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json", str),
        ("text/csv", str),
        ("Text/CSV; charset=latin-1", str),
        ("application/jsonlines", bytes),
        ("text/plain", bytes),
        ("application/x-npy", bytes),
        ("application/octet-stream", bytes),
    ],
)
def test_json_and_csv_are_str_and_other_types_bytes(archive: Archive, content_type: str, kind: type) -> None:
    """The types in lower case as in SageMaker's toolkit, with whatever parameters."""
    response = Served(archive(**{"inference.py": ECHO})).post(b"1,2", content_type)
    body = "1,2" if kind is str else b"1,2"
    assert response.body.decode() == repr(("m", body, content_type, "application/json"))


def test_text_types_are_the_toolkits() -> None:
    assert set(script_handler.TEXTS) == set(content_types.UTF8_TYPES)


def test_body_without_a_content_type_is_json(archive: Archive) -> None:
    response = Served(archive(**{"inference.py": ECHO})).post("[1]", "")
    assert response.body == repr(("m", "[1]", "application/json", "application/json")).encode()


def test_content_type_reaches_the_script_as_sent(archive: Archive) -> None:
    sent = "Multipart/Form-Data; boundary=AaB03x"
    assert repr(sent) in Served(archive(**{"inference.py": ECHO})).post(b"--AaB03x--", sent).body.decode()


def test_functions_called_at_load(archive: Archive) -> None:
    source = """
CALLS = []
def pre_model_fn(model_dir):
    CALLS.append(("before", model_dir))
def model_fn(model_dir):
    return CALLS
def model_warmup_fn(model_dir, model, context):
    model.append(("after", model_dir, context.model_name))
def predict_fn(data, model):
    return model
"""
    folder = archive(**{"inference.py": source})
    assert Served(folder).post("[1]").json == [["before", str(folder)], ["after", str(folder), "model"]]


@pytest.mark.parametrize("function", ["pre_model_fn(model_dir)", "model_warmup_fn(model_dir, model)"])
def test_failure_of_a_function_called_at_load_fails_the_load(archive: Archive, function: str) -> None:
    source = f"def model_fn(d):\n    return len\ndef {function}:\n    raise LookupError('mine')\n"
    with pytest.raises(LookupError, match="mine"):
        Served(archive(**{"inference.py": source}))


def test_every_function_may_take_the_context(archive: Archive) -> None:
    source = """
def model_fn(model_dir, context):
    return context.model_name
def input_fn(body, content_type, context):
    return context.get_request_header(0, "X-Sender")
def predict_fn(data, model, ctx):
    return [data, model, ctx.system_properties["batch_size"]]
def output_fn(prediction, accept, context=None):
    return " ".join(map(str, prediction + [context.model_name])), "text/plain"
"""
    response = Served(archive(**{"inference.py": source})).post("", **{"X-Sender": "me"})
    assert (response.body, response.content_type) == (b"me model 1 model", "text/plain")


def test_argument_with_a_default_gets_no_context(archive: Archive) -> None:
    source = "def model_fn(model_dir, strict=True):\n    return lambda rows: [strict]\n"
    assert Served(archive(**{"inference.py": source})).post("[[1]]").json == [True]


def test_framework_stands_in_for_missing_functions(archive: Archive, moons_forest: Path) -> None:
    source = "def output_fn(prediction, accept):\n    return f'{prediction.tolist()}!', 'text/plain'\n"
    assert Served(archive(moons_forest, **{"inference.py": source})).post("[[-1, 1], [2, -1]]").body == b"[0, 1]!"


def test_input_fn_with_the_frameworks_predict(archive: Archive, moons_forest: Path) -> None:
    source = "def input_fn(body, content_type):\n"
    source += "    return [[float(x) for x in row.split(b';')] for row in body.split()]\n"
    served = Served(archive(moons_forest, **{"code/inference.py": source}))
    assert served.post("-1;1 2;-1", "text/plain").json == [0, 1]


def test_predict_fn_gets_arrays_objects_and_pixels(archive: Archive, moons_forest: Path) -> None:
    source = (
        "def predict_fn(data, model):\n    return [type(data).__name__, getattr(data, 'shape', data), len(model)]\n"
    )
    served = Served(archive(moons_forest, **{"inference.py": source}))
    assert served.post("[[1, 2]]").json == ["ndarray", [1, 2], 5]
    assert served.post('{"a": 1}').json == ["dict", {"a": 1}, 5]
    assert served.post('[{"a": 1}]').json == ["list", [{"a": 1}], 5]
    assert served.post("[[1], [1, 2]]").json == ["list", [[1], [1, 2]], 5]
    assert served.post(picture(numpy.zeros((2, 3, 3))), "image/png").json == ["ndarray", [2, 3, 3], 5]


def test_model_fn_with_the_frameworks_predict(archive: Archive) -> None:
    source = """
import torch
def model_fn(model_dir):
    return torch.nn.Flatten()
"""
    pytest.importorskip("torch")
    assert Served(archive(**{"inference.py": source})).post(npy([[[1.5, 2]]]), "application/x-npy").json == [[1.5, 2]]


def test_model_with_a_predict_method(archive: Archive) -> None:
    source = """
class Model:
    def predict(self, rows):
        return rows.sum(axis=1)
def model_fn(model_dir):
    return Model()
"""
    served = Served(archive(**{"inference.py": source}))
    assert served.post("[[1, 2], [3, 4]]").json == [3, 7]
    assert served.post('{"a": 1, "b": 2}').json == {"prediction": 3}


@pytest.mark.parametrize("name", ["handlers", "container", "helper"])
def test_helper_modules_come_from_the_archive(archive: Archive, name: str) -> None:
    source = f"import {name}\ndef model_fn(model_dir):\n    return {name}.VALUE\n"
    source += "def predict_fn(data, model):\n    import json\n    return model\n"
    served = Served(archive(**{"code/inference.py": source, f"code/{name}.py": "VALUE = 'mine'\n"}))
    assert served.post("[[1]]").json == "mine"
    assert served.post(npy([1]), "application/x-npy", Accept="text/csv").body == b"mine\n"


def test_helper_named_like_one_of_our_folders(archive: Archive, moons_forest: Path) -> None:
    source = "import handlers\ndef input_fn(body, content_type):\n    return handlers.ROWS\n"
    served = Served(archive(moons_forest, **{"inference.py": source, "handlers/__init__.py": "ROWS = [[2, -1]]"}))
    assert served.post("").json == [1]


def test_classes_of_the_script_can_be_unpickled(archive: Archive) -> None:
    source = "class Twice:\n    def predict(self, rows):\n        return 2 * rows\n"
    source += "def predict_fn(data, model):\n    return model.predict(data)\n"
    folder = archive(**{"inference.py": source, "model.pkl": b"cinference\nTwice\n)\x81."})
    assert Served(folder).post("[[1, 2]]").json == [[2, 4]]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def model_fn(model_dir)\n    pass\n", r"inference\.py, line 1: expected ':': 'def model_fn"),
        ("async def model_fn(model_dir): pass\n", "model_fn is async; define it with def, and call asyncio.run"),
        ("def model_fn(d): pass\nasync def output_fn(p, a): yield 1\n", "output_fn is async"),
        ("class F:\n    async def __call__(self, data, model): pass\npredict_fn = F()\n", "predict_fn is async"),
        ("import no_such_thing\ndef model_fn(d): pass\n", "needs the module 'no_such_thing'"),
        ("VALUE = 1\n", r"no model_fn, and nothing here can be served; found.*inference\.py"),
        ("", "no model_fn, and nothing here can be served"),
        ("def handle(data, context): pass\n", r"defines none of model_fn.* but handle\(\).*MANIFEST"),
        (
            "def predict_fn(data, model): pass\n",
            r"no model_fn, and nothing here can be served; found.*inference\.py",
        ),
        (
            "def model_fn(model_dir): pass\n",
            r"model_fn gives a NoneType, which has no predict method and cannot be called",
        ),
        (
            "def model_fn(): pass\ndef predict_fn(d, m): pass\n",
            r"model_fn\(\) cannot be called; define model_fn\(model_dir",
        ),
        (
            "def model_fn(d): pass\ndef predict_fn(d): pass\n",
            r"predict_fn\(d\) cannot be called.*predict_fn\(data, model\)",
        ),
        ("def model_fn(d): pass\ndef input_fn(a, b, c, d): pass\n", r"input_fn\(a, b, c, d\) cannot be called"),
        ("model_fn = 3\n", "model_fn is a int, not a function"),
        (ECHO + "def input_fn(body, content_type): pass\n", "which replaces input_fn: keep one"),
    ],
)
def test_unusable_scripts(archive: Archive, source: str, text: str) -> None:
    with pytest.raises(BadModelError, match=text) as raised:
        Served(archive(**{"inference.py": source}))
    assert (raised.value.status, raised.value.phase) == (400, "load")


@pytest.mark.parametrize(
    "source",
    [
        "raise LookupError('mine')",
        "def model_fn(model_dir):\n    raise LookupError('mine')\ndef predict_fn(d, m): pass",
    ],
)
def test_exception_of_a_script_at_load_is_unchanged(archive: Archive, source: str) -> None:
    with pytest.raises(LookupError, match="mine") as raised:
        Served(archive(**{"inference.py": source}))
    assert Path(raised.traceback[-1].path).name == "inference.py"


@pytest.mark.parametrize(
    ("function", "phase"), [("input_fn", "decode"), ("predict_fn", "predict"), ("output_fn", "encode")]
)
def test_exception_of_a_script_carries_its_phase(archive: Archive, function: str, phase: str) -> None:
    source = "def model_fn(d):\n    return len\n"
    source += f"def {function}(a, b):\n    error = ValueError('mine')\n    error.status = 422\n    raise error\n"
    error = Served(archive(**{"inference.py": source})).post("[[1]]").error
    assert (type(error), error.phase, error.status) == (ValueError, phase, 422)


@pytest.mark.parametrize(
    ("returned", "body", "content_type"),
    [
        ("{'a': numpy.float32(1)}", b'{"a": 1.0}', "application/json"),
        ("['a', 'b']", b'["a", "b"]', "application/json"),
        ("(1, 2)", b"[1, 2]", "application/json"),
        ("3", b"3", "application/json"),
        ("numpy.array([float('nan')])", b"[null]", "application/json"),
        ("({'a': 1}, 'application/vnd.mine+json')", b'{"a": 1}', "application/vnd.mine+json"),
        ("bytearray(b'x')", b"x", "text/html"),
    ],
)
def test_objects_are_serialised_as_json(archive: Archive, returned: str, body: bytes, content_type: str) -> None:
    source = (
        f"import numpy\ndef model_fn(d):\n    return len\ndef output_fn(prediction, accept):\n    return {returned}\n"
    )
    response = Served(archive(**{"inference.py": source})).post("[[1]]", Accept="text/html")
    assert (response.body, response.content_type) == (body, content_type)


@pytest.mark.parametrize(
    ("returned", "text"), [("None", "output_fn returned None; it must return the body"), ("object()", "holds a object")]
)
def test_unsendable_return_values(archive: Archive, returned: str, text: str) -> None:
    source = f"def model_fn(d):\n    return len\ndef output_fn(prediction, accept):\n    return {returned}\n"
    response = Served(archive(**{"inference.py": source})).post("[[1]]")
    assert (response.status, response.error.phase) == (500, "encode")
    assert text in str(response.error)


def test_only_a_scripts_output_fn_may_use_any_media_type(archive: Archive) -> None:
    model = "def model_fn(d):\n    return len\n"
    own = Served(archive(**{"inference.py": model + "def output_fn(p, accept):\n    return str(p)\n"}))
    assert own.post("[[1]]", Accept="text/html").content_type == "text/html"
    ours = Served(archive(**{"inference.py": model}))
    response = ours.post("[[1]]", Accept="text/html")
    assert (response.status, "responds in application/json, text/csv" in str(response.error)) == (406, True)


def test_sys_exit_is_not_swallowed(archive: Archive) -> None:
    with pytest.raises(SystemExit):
        Served(archive(**{"inference.py": "import sys\nsys.exit(3)"}))


def test_memory_errors_pass_unchanged(archive: Archive) -> None:
    source = "def model_fn(d):\n    raise MemoryError\ndef predict_fn(d, m): pass\n"
    with pytest.raises(MemoryError):
        Served(archive(**{"inference.py": source}))


def test_pickles_in_bodies_are_rejected(archive: Archive) -> None:
    source = "def model_fn(d):\n    return len\n"
    response = Served(archive(**{"inference.py": source})).post(npy([{"a": 1}]), "application/x-npy")
    assert (response.status, "pickled" in str(response.error)) == (400, True)


# What a notebook or a training script, which is `__main__` where it runs, leaves behind.


@pytest.fixture
def of_main() -> Any:
    """Make the pickle of an object whose class is `__main__`'s."""
    made = type("Model", (), {"__module__": "__main__"})()
    made.factor = 3

    def pickled(dump: Callable[[Any, Any], object]) -> bytes:
        main = types.ModuleType("__main__")
        main.Model = type(made)  # type: ignore[attr-defined]
        stream = io.BytesIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "__main__", main)
            dump(made, stream)
        return stream.getvalue()

    return pickled


CLASS = "class Model:\n    def predict(self, rows):\n        return self.factor * rows\n"
UNPICKLE = "import pickle, os\ndef model_fn(model_dir):\n"
UNPICKLE += "    return pickle.load(open(os.path.join(model_dir, 'model.bin'), 'rb'))\n"


@pytest.mark.filterwarnings("ignore:unclosed file")
@pytest.mark.parametrize("place", ["inference.py", "code/inference.py"])
def test_class_of_main_that_the_script_defines(archive: Archive, of_main: Any, place: str) -> None:
    folder = archive(**{place: CLASS + UNPICKLE, "model.bin": of_main(pickle.dump)})
    assert Served(folder).post("[[1, 2]]").json == [[3, 6]]


@pytest.mark.filterwarnings("ignore:unclosed file")
def test_class_of_main_that_the_script_imports(archive: Archive, of_main: Any) -> None:
    source = "from own_model import Model\n" + UNPICKLE
    folder = archive(**{"inference.py": source, "own_model.py": CLASS, "model.bin": of_main(pickle.dump)})
    assert Served(folder).post("[[1, 2]]").json == [[3, 6]]


@pytest.mark.parametrize("dump", ["pickle", "joblib"])
def test_class_of_main_beside_the_default_loader(archive: Archive, of_main: Any, dump: str) -> None:
    pytest.importorskip("sklearn")
    model = of_main(importlib.import_module(dump).dump)
    output = "def output_fn(prediction, accept):\n    return prediction\n"
    folder = archive(**{"inference.py": CLASS + output, "model.joblib": model})
    assert Served(folder).post("[[1, 2]]").json == [[3, 6]]


def test_class_of_main_unpickled_while_the_script_is_imported(archive: Archive, of_main: Any) -> None:
    source = f"import pickle\n{CLASS}MODEL = pickle.loads({of_main(pickle.dump)!r})\n"
    source += "def model_fn(model_dir):\n    return MODEL\n"
    assert Served(archive(**{"inference.py": source})).post("[[1, 2]]").json == [[3, 6]]


def test_class_of_main_that_is_nowhere(archive: Archive, of_main: Any) -> None:
    source = f"import pickle\ndef model_fn(model_dir):\n    return pickle.loads({of_main(pickle.dump)!r})\n"
    with pytest.raises(AttributeError, match="'Model' on <module '__main__'>; define or import it in") as raised:
        Served(archive(**{"inference.py": source}))
    assert "polyhost" not in str(raised.value)


# What the functions get and return


def test_images_and_arrays_can_be_written_to(archive: Archive) -> None:
    source = "def model_fn(d):\n    return 0\ndef predict_fn(data, model):\n    data[0] = model\n    return data\n"
    served = Served(archive(**{"inference.py": source}))
    assert served.post(picture(numpy.ones((2, 1, 3))), "image/png").json == [[[0, 0, 0]], [[1, 1, 1]]]
    assert served.post(picture(numpy.ones((2, 1))), "image/png").json == [[0], [1]]
    assert served.post(npy([[1, 2], [3, 4]]), "application/x-npy").json == [[0, 0], [3, 4]]
    assert served.post("[[1, 2], [3, 4]]").json == [[0, 0], [3, 4]]


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("application/json; charset=utf-8", "application/json; charset=utf-8"),
        ("text/csv;header=present;q=0.9, text/html;q=0.1", "text/csv;header=present"),
        ("application/jsonl", "application/jsonl"),
        ("*/*", "application/json"),
        ("", "application/json"),
    ],
)
def test_accept_with_parameters(archive: Archive, accept: str, given: str) -> None:
    source = "def model_fn(d):\n    return len\ndef output_fn(prediction, accept):\n    return accept\n"
    response = Served(archive(**{"inference.py": source})).post("[[1]]", Accept=accept)
    assert (response.body.decode(), response.content_type) == (given, given)
    assert Served(archive(**{"inference.py": ECHO})).post("1", Accept=accept).content_type == given


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("{numpy.int64(1): datetime.date(2024, 2, 29)}", '{"1": "2024-02-29"}'),
        ("{'classes': [b'ham'], 'share': decimal.Decimal('0.5')}", '{"classes": ["ham"], "share": 0.5}'),
        ("{datetime.date(2024, 2, 29): {1}}", '{"2024-02-29": [1]}'),
    ],
)
@pytest.mark.parametrize("function", ["predict_fn(data, model)", "output_fn(prediction, accept)"])
def test_answers_of_other_types(archive: Archive, function: str, expression: str, text: str) -> None:
    source = f"import datetime, decimal, numpy\ndef model_fn(d):\n    return len\ndef {function}:\n"
    response = Served(archive(**{"inference.py": f"{source}    return {expression}\n"})).post("[[1]]")
    assert (response.body.decode(), response.content_type) == (text, "application/json")


def test_answer_with_a_key_that_json_cannot_have(archive: Archive) -> None:
    source = "def model_fn(d):\n    return len\ndef predict_fn(data, model):\n    return {(1, 2): 3}\n"
    error = Served(archive(**{"inference.py": source})).post("[[1]]").error
    assert (error.phase, "make it text: str(key)" in str(error)) == ("encode", True)
