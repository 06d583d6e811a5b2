"""The examples of docs/coming-from-sagemaker.md do what its text says."""

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.handlers.script import stand_ins
from tests.handlers.conftest import Archive
from tests.handlers.served import Served

TEXT = (Path(__file__).parents[2] / "docs" / "coming-from-sagemaker.md").read_text()
VOCABULARY = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"


def block(first_line: str) -> str:
    found = [source for source in re.findall(r"```\w+\n(.*?)```", TEXT, re.DOTALL) if source.startswith(first_line)]
    assert len(found) == 1, f"{len(found)} examples start with {first_line!r}"
    return str(found[0])


@pytest.fixture(autouse=True)
def own_finders() -> Iterator[None]:
    yield
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, stand_ins.Finder)]
    for name, module in list(sys.modules.items()):
        if isinstance(module, stand_ins.StandIn):
            del sys.modules[name]


@pytest.mark.parametrize("words", ["with sagemaker_containers", "without sagemaker_containers"])
def test_script_with_and_without_sagemakers_packages(archive: Archive, words: str) -> None:
    served = Served(archive(**{"inference.py": block(f"# inference.py, {words}\n")}))
    expected = {"instances": [{"features": [2, 4]}, {"features": [6, 8]}]}
    assert served.post("1,2\n3,4", "text/csv", Accept="application/json").json == expected
    response = served.post("[[1, 2], [3, 4]]", Accept="text/csv")
    rows = [[float(cell) for cell in row.split(b",")] for row in response.body.split()]
    assert (rows, response.content_type) == ([[2, 4], [6, 8]], "text/csv")


def test_script_of_pytorch(archive: Archive) -> None:
    torch = pytest.importorskip("torch")
    stream = io.BytesIO()
    torch.save({"weight": torch.tensor([[2.0, 3.0]])}, stream)
    served = Served(archive(**{"inference.py": block("# inference.py, PyTorch\n"), "model.pth": stream.getvalue()}))
    assert served.post("[[1, 10]]").json == [[32]]
    assert served.post("1,10", "text/csv", Accept="text/csv").body == b"32.0\n"


@pytest.mark.filterwarnings("ignore:.*Unknown file format")  # XGBoost's own, of a name without a suffix
def test_script_of_xgboost(archive: Archive) -> None:
    xgboost = pytest.importorskip("xgboost")
    booster = xgboost.train({"max_depth": 1}, xgboost.DMatrix([[0.0], [1.0]], [0, 1]), 50)
    weights = bytes(booster.save_raw())
    served = Served(archive(**{"inference.py": block("# inference.py, XGBoost\n"), "xgboost-model": weights}))
    low, high = served.post("0\n1", "text/csv").json
    assert low < 0.5 < high
    assert served.post("0 0:0\n0 0:1", "text/libsvm").json == [low, high]


def test_script_of_hugging_face(archive: Archive, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = archive(**{"inference.py": block("# inference.py, Hugging Face\n"), "vocab.txt": VOCABULARY})
    config = transformers.BertConfig(
        vocab_size=6, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    (answer,) = Served(folder).post('{"inputs": "a"}').json
    assert answer["label"] in ("LABEL_0", "LABEL_1")
