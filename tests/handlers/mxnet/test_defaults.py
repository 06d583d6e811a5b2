"""What SageMaker's MXNet image does for a script, done here: NDArrays in and out, Gluon blocks and modules."""

from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadModelError
from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy

PIXELS = numpy.arange(108, dtype="f4").reshape(1, 3, 6, 6)
BLOCK = """
import mxnet as mx
class Twice(mx.gluon.HybridBlock):
    def hybrid_forward(self, F, x):
        return 2 * x
def model_fn(model_dir):
    return MODEL
"""
MODULE = """
import mxnet as mx, os
def model_fn(model_dir):
    symbol, args, aux = mx.model.load_checkpoint(os.path.join(model_dir, "net"), 0)
    module = mx.mod.Module(symbol, data_names=["data"], label_names=None)
    module.bind(for_training=False, data_shapes=[("data", (BATCH, 3, 6, 6))])
    module.set_params(args, aux, allow_missing=True)
    return module
"""

pytestmark = [
    pytest.mark.usefixtures("mxnet"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of a scipy name that mxnet.nd.array looks up
]


def block(model: str, more: str = "") -> dict[str, str]:
    return {"inference.py": BLOCK.replace("MODEL", model) + more}


@pytest.mark.parametrize("model", ["Twice()", "{'net': Twice()}['net']", "lambda x: 2 * x", "Twice().forward"])
def test_a_block_is_called_by_default(archive: Archive, model: str) -> None:
    served = Served(archive(**block(model)))
    assert served.post("[[1, 2], [3, 4]]").json == [[2, 4], [6, 8]]
    assert served.post(npy([[1.5]]), "application/x-npy").json == [[3]]
    assert served.post("1,2", "text/csv", Accept="text/csv").body == b"2.0,4.0\n"
    assert served.post('{"instances": [[1]]}').json == [[2]]


def test_a_dense_block_says_what_it_cannot_take(archive: Archive) -> None:
    dense = "(lambda net: (net.initialize(mx.init.One()), net)[1])(mx.gluon.nn.Dense(1, in_units=2, use_bias=False))"
    served = Served(archive(**block(dense)))
    assert served.post("[[1, 2]]").json == [[3]]
    wrong = served.post("[[1, 2, 3]]")
    assert (wrong.status, "cannot take input of shape [[1, 3]]" in str(wrong.error)) == (400, True)


def test_dropout_is_off(archive: Archive) -> None:
    served = Served(archive(**block("mx.gluon.nn.Dropout(0.5)")))
    assert [served.post("[[1, 2]]").json for _ in range(5)] == [[[1, 2]]] * 5


ECHO = """
def predict_fn(data, model):
    if isinstance(data, mx.nd.NDArray):
        return [type(data).__name__, str(data.context), data.dtype.__name__, list(data.shape)]
    return [type(data).__name__, data if isinstance(data, (dict, list, str)) else None]
"""


def test_a_predict_fn_gets_an_ndarray(archive: Archive) -> None:
    served = Served(archive(**block("Twice()", ECHO)))
    expected = ["NDArray", "cpu(0)", "float32", [1, 2]]
    assert served.post("[[1, 2]]").json == expected
    assert served.post("1,2", "text/csv").json == expected
    assert served.post(npy(numpy.ones((1, 2), ">i8")), "application/x-npy").json == expected
    sent = {"instances": [[1]], "parameters": {"k": 1}}
    assert served.post(str(sent).replace("'", '"')).json == ["dict", sent]
    assert served.post('"text"').json == ["str", "text"]


@pytest.mark.parametrize(
    ("returned", "body"),
    [
        ("data", [[1, 2]]),
        ("model(data)", [[2, 4]]),
        ("data.as_in_context(mx.cpu()).sum()", 3),
        ("[data, data]", [[[1, 2]], [[1, 2]]]),
        ("{'scores': data[0], 'n': 2}", {"scores": [1, 2], "n": 2}),
        ("mx.np.ones(2)", [1, 1]),
        ("data.asnumpy()", [[1, 2]]),
        ("data.astype('float16')", [[1, 2]]),
    ],
)
def test_ndarrays_are_written(archive: Archive, returned: str, body: Any) -> None:
    predict = f"def predict_fn(data, model):\n    return {returned}\n"
    served = Served(archive(**block("Twice()", predict)))
    response = served.post("[[1, 2]]")
    assert response.json == body if isinstance(body, list | dict) else numpy.ravel(response.json).tolist() == [body]
    if "[" not in returned and "{" not in returned:
        output = (
            f"def output_fn(prediction, accept):\n    data, model = prediction / 2, Twice()\n    return {returned}\n"
        )
        response = Served(archive(**block("Twice()", output))).post("[[1, 2]]")
        assert numpy.ravel(response.json).tolist() == numpy.ravel(body).tolist()


def test_an_output_fn_gets_ndarrays(archive: Archive, mxnet_net: Path) -> None:
    """Not labels: SageMaker's image gives the array."""
    source = "import mxnet as mx\ndef output_fn(prediction, accept):\n"
    source += "    return [type(prediction).__name__, list(prediction.asnumpy().shape)]\n"
    served = Served(archive(mxnet_net, **{"inference.py": source}))
    assert served.post(npy(PIXELS), "application/x-npy").json == ["NDArray", [1, 7]]
    module = MODULE.replace("BATCH", "1") + source
    assert Served(archive(mxnet_net, **{"inference.py": module})).post(npy(PIXELS), "application/x-npy").json == [
        "NDArray",
        [1, 7],
    ]


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_module_answers_as_the_handler_does(archive: Archive, mxnet_net: Path, batch: int, rows: int) -> None:
    body = npy(numpy.concatenate([PIXELS + row for row in range(rows)]))
    expected = Served(archive(mxnet_net)).post(body, "application/x-npy").json
    served = Served(archive(mxnet_net, **{"inference.py": MODULE.replace("BATCH", str(batch))}))
    assert numpy.allclose(served.post(body, "application/x-npy").json, expected, atol=1e-5)
    predict = "def predict_fn(data, model):\n    return model.predict(data)\n"
    served = Served(archive(mxnet_net, **{"inference.py": MODULE.replace("BATCH", str(batch)) + predict}))
    assert numpy.allclose(served.post(body, "application/x-npy").json, expected, atol=1e-5)


def test_a_predict_fn_without_a_model_fn_gets_a_module(archive: Archive, mxnet_net: Path) -> None:
    source = "import mxnet as mx\ndef predict_fn(data, model):\n    assert isinstance(model, mx.mod.Module)\n"
    source += "    return model.predict(data)\n"
    # Answered before the files are written again: MXNet's threads read them, mapped, until then.
    expected = Served(archive(mxnet_net, **{"inference.py": ""})).post(npy(PIXELS), "application/x-npy").json
    served = Served(archive(mxnet_net, **{"inference.py": source}))
    assert numpy.allclose(served.post(npy(PIXELS), "application/x-npy").json, expected, atol=1e-5)


@pytest.mark.parametrize(
    "made",
    [
        "mx.nd.array(numpy.load(io.BytesIO(body)))",
        "[mx.nd.array(numpy.load(io.BytesIO(body)))]",
        "mx.io.NDArrayIter(mx.nd.array(numpy.load(io.BytesIO(body))), batch_size=1)",
        "numpy.load(io.BytesIO(body))",
    ],
)
def test_default_prediction_takes_what_an_input_fn_makes(archive: Archive, mxnet_net: Path, made: str) -> None:
    source = f"import io, numpy\nimport mxnet as mx\ndef input_fn(body, content_type):\n    return {made}\n"
    expected = Served(archive(mxnet_net, **{"inference.py": ""})).post(npy(PIXELS), "application/x-npy").json
    module = Served(archive(mxnet_net, **{"inference.py": MODULE.replace("BATCH", "1") + source}))
    assert numpy.allclose(module.post(npy(PIXELS), "application/x-npy").json, expected, atol=1e-5)
    if "Iter" not in made:
        served = Served(archive(**block("Twice()", source)))
        assert numpy.allclose(served.post(npy(PIXELS), "application/x-npy").json, 2 * PIXELS)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("mx.mod.Module(mx.sym.Variable('data'), label_names=None)", "without shapes or parameters; call its bind"),
        ("{'net': Twice()}", "model_fn gives a dict, which cannot be called on an NDArray"),
    ],
)
def test_models_that_cannot_predict_fail_at_load(archive: Archive, model: str, text: str) -> None:
    with pytest.raises(BadModelError, match=text):
        Served(archive(**block(model)))
