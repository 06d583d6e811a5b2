"""Adapters of PEFT, completed by a base model from a folder beside the archives."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyhost.handlers.errors import BadModelError, BadSettingError
from tests.handlers.huggingface.conftest import Tiny
from tests.handlers.huggingface.test_handler import BAD, GOOD, call
from tests.handlers.served import Served

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # of PEFT's own
peft = pytest.importorskip("peft")
LABELS = {"id2label": {0: "bad", 1: "good", 2: "neither"}, "label2id": {"bad": 0, "good": 1, "neither": 2}}

Train = Callable[[str], Path]


@pytest.fixture
def base(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a model without a head where adapters find it, under the name "acme/tiny-bert"."""
    bases = tmp_path / "bases"
    shutil.copytree(tiny("BertModel"), bases / "tiny-bert")
    monkeypatch.setenv("POLYHOST_BASE_MODELS", str(bases))
    return bases / "tiny-bert"


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Train:
    """Return a function that makes an archive with an adapter and a head of three labels."""

    def make(name: str) -> Path:
        import torch
        from transformers import AutoModelForSequenceClassification

        torch.manual_seed(sum(name.encode()))
        model = AutoModelForSequenceClassification.from_pretrained(base, **LABELS)
        config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
        adapted = peft.get_peft_model(model, config)
        for key, parameter in adapted.named_parameters():
            if "lora_B" in key or "classifier" in key:
                torch.nn.init.normal_(parameter)
        adapted.save_pretrained(tmp_path / name)
        adapted.config.save_pretrained(tmp_path / name)
        change(tmp_path / name / "adapter_config.json", base_model_name_or_path="acme/tiny-bert")
        return tmp_path / name

    return make


def change(file: Path, **members: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **members}))


def test_adapters_of_one_base(adapter: Train) -> None:
    folders = [adapter("first"), adapter("second")]
    assert not (folders[0] / "model.safetensors").exists()
    scores = [{answer["label"]: answer["score"] for answer in call(Served(each), GOOD, top_k=None)} for each in folders]
    assert scores[0].keys() == scores[1].keys() == {"bad", "good", "neither"}
    assert scores[0] != scores[1]


def test_the_answers_are_those_of_the_merged_model(adapter: Train, base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    folder, merged = adapter("first"), tmp_path / "merged"
    shutil.copytree(base, merged)
    model = AutoModelForSequenceClassification.from_pretrained(base, **LABELS)
    peft.PeftModel.from_pretrained(model, folder).merge_and_unload().save_pretrained(merged)
    for text in (GOOD, BAD):
        (one,), (other,) = call(Served(folder), text), call(Served(merged), text)
        assert one["label"] == other["label"] and one["score"] == pytest.approx(other["score"], abs=1e-5)


def test_the_archive_names_its_base(adapter: Train) -> None:
    folder = adapter("first")
    change(folder / "adapter_config.json", base_model_name_or_path="elsewhere")
    with pytest.raises(BadModelError, match=r"adapter of 'elsewhere', which is not in .*bases .*: tiny-bert; name one"):
        Served(folder)
    (folder / "huggingface.json").write_text('{"base": "tiny-bert"}')
    assert call(Served(folder), GOOD)


@pytest.mark.parametrize("name", ["../first", "/etc"])
def test_a_base_lies_in_its_folder(adapter: Train, name: str) -> None:
    folder = adapter("first")
    (folder / "huggingface.json").write_text(json.dumps({"base": name}))
    with pytest.raises(BadModelError, match="which is not in"):
        Served(folder)


def test_what_an_adapter_lacks_is_named(adapter: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = adapter("first")
    weights = folder / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    (folder / "adapter_model.bin.part").touch()
    with pytest.raises(BadModelError):
        Served(folder)
    weights.write_bytes(content)
    monkeypatch.delenv("POLYHOST_BASE_MODELS")
    with pytest.raises(
        BadModelError, match=r"is an adapter of 'acme/tiny-bert'; put that model .*POLYHOST_BASE_MODELS"
    ):
        Served(folder)
    monkeypatch.setenv("POLYHOST_BASE_MODELS", "bases")
    with pytest.raises(BadSettingError, match="POLYHOST_BASE_MODELS='bases': must be the absolute path"):
        Served(folder)


def test_an_adapter_without_some_of_its_weights(adapter: Train) -> None:
    from safetensors.torch import load_file, save_file

    weights = adapter("first") / "adapter_model.safetensors"
    tensors = load_file(weights)
    for key in [key for key in tensors if "lora_B" in key]:
        del tensors[key]
    save_file(tensors, weights)
    with pytest.raises(BadModelError, match=r"the adapter does not fit its base by PEFT .*missing adapter keys"):
        Served(weights.parent)


def test_an_adapter_without_a_head(adapter: Train) -> None:
    folder = adapter("first")
    change(folder / "adapter_config.json", modules_to_save=None)
    with pytest.raises(BadModelError, match=r"the weights lack classifier|does not fit its base"):
        Served(folder)
