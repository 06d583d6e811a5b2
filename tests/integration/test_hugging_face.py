"""Archives of Hugging Face's transformers in real containers, behind both front ends, and by `polyhost check`."""

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run_polyhost
from tests.support.container import ContainerProcess, running

if importlib.util.find_spec("transformers") is None:
    pytest.skip("transformers is not installed", allow_module_level=True)

from tests.support import huggingface

GOOD = "the film was good"
FEW = {"max_new_tokens": 3, "do_sample": False}
# Two of each: another number of layers makes another model.
ARCHIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "text-classification": ("ElectraForSequenceClassification", {"inputs": GOOD}),
    "token-classification": ("BertForTokenClassification", {"inputs": GOOD}),
    "question-answering": ("BertForQuestionAnswering", {"inputs": {"question": "what", "context": GOOD}}),
    "fill-mask": ("BertForMaskedLM", {"inputs": "the [MASK] was good"}),
    "text-generation": ("GPT2LMHeadModel", {"inputs": GOOD, "parameters": FEW}),
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make two archives' folders for each task."""
    base = tmp_path_factory.mktemp("archives")
    made = {}
    for task, (architecture, _) in ARCHIVES.items():
        for layers in (1, 2):
            depth = "n_layer" if architecture.startswith("GPT2") else "num_hidden_layers"
            name = f"{task}-{layers}"
            made[name] = huggingface.save(base / name, architecture, **{depth: layers})
    return made


@pytest.fixture(scope="module")
def bases() -> Iterator[Path]:
    """Yield a folder of base models with one, "tiny-bert"."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # models have users of their own
        huggingface.save(Path(folder, "tiny-bert"), "BertModel")
        yield Path(folder)


@pytest.fixture(scope="module")
def texts(
    front: str, archives: dict[str, Path], bases: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContainerProcess]:
    """Start a container with a zygote for transformers only, in which all archives are loaded."""
    folder = tmp_path_factory.mktemp(front)
    settings = {"POLYHOST_ZYGOTES": "huggingface", "POLYHOST_BASE_MODELS": str(bases), "HF_TASK": ""}
    with running(folder, front, **settings) as container:
        for name, path in archives.items():
            shutil.copytree(path, container.folder(name))
            container.loaded(name)
        yield container


def test_ten_archives_of_five_tasks(texts: ContainerProcess, archives: dict[str, Path]) -> None:
    for name in archives:
        _, body = ARCHIVES[name.rpartition("-")[0]]
        response = texts.invoke(name, json.dumps(body))
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
        assert response.json()
    assert texts.events(level="ERROR") == []


def test_an_error_reaches_the_caller(texts: ContainerProcess) -> None:
    response = texts.invoke("fill-mask-1", '{"inputs": "no mask"}')
    assert response.status_code == 400
    assert "mask_token" in response.json()["message"]


def test_a_stream(texts: ContainerProcess) -> None:
    body = {"inputs": GOOD, "parameters": FEW, "stream": True}
    response = texts.invoke("text-generation-1", json.dumps(body))
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert response.headers["content-type"] == "application/jsonlines"
    assert lines[-1]["generated_text"] == "".join(line["token"]["text"] for line in lines)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # of PEFT's own
def test_adapters_of_one_base(texts: ContainerProcess, bases: Path) -> None:
    pytest.importorskip("peft")
    scores = []
    for seed in (1, 2):
        name = f"adapter-{seed}"
        huggingface.save_adapter(texts.folder(name), bases / "tiny-bert", seed)
        texts.loaded(name)
        answer = texts.invoke(name, json.dumps({"inputs": GOOD})).json()
        assert answer[0]["label"].startswith("LABEL_")
        scores.append(answer[0]["score"])
        maps = Path(f"/proc/{texts.workers_of(name)[0].pid}/maps").read_text()
        assert str(bases / "tiny-bert" / "model.safetensors") in maps, "the base's weights are not mapped from its file"
    assert scores[0] != scores[1]


def test_what_is_missing_is_the_reason_of_the_load(texts: ContainerProcess, archives: dict[str, Path]) -> None:
    shutil.copytree(archives["fill-mask-1"], texts.folder("no-tokenizer"), ignore=lambda *_: ["tokenizer.json"])
    response = texts.load("no-tokenizer")
    assert response.status_code >= 400
    texts.wait_for_event("the tokenizer is missing, which the task fill-mask needs")


def test_pack_and_check(archives: dict[str, Path], tmp_path: Path) -> None:
    archive, body = tmp_path / "model.tar.gz", tmp_path / "body.json"
    body.write_text(json.dumps({"inputs": [GOOD, GOOD]}))
    packed = run_polyhost("pack", archives["text-classification-1"], "-o", archive, "--json")
    assert json.loads(packed.stdout)["handler"] == "huggingface", packed.stderr
    checked = run_polyhost("check", archive, "--body", body, "--json")
    assert checked.returncode == 0, checked.stderr
    report = json.loads(checked.stdout)
    assert report["framework"] == "huggingface"
    first, second = report["answer"]["body"]
    assert first == second and first["label"].startswith("LABEL_")
