"""Archives of five and more tasks through the handler, in this process."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadModelError, BadSettingError
from tests.handlers.conftest import Archive
from tests.handlers.huggingface.conftest import Tiny
from tests.handlers.served import Served, picture

Serve = Callable[[str], Served]
ENTAILMENT = {"id2label": {0: "entailment", 1: "neutral", 2: "contradiction"}}
GOOD, BAD = "the film was good", "the film was bad and nobody liked it"


def call(served: Served, inputs: Any, stream: bool = False, **parameters: Any) -> Any:
    body = {"inputs": inputs, "parameters": parameters, **({"stream": True} if stream else {})}
    response = served.post(json.dumps(body))
    return response if stream else response.json


def test_text_classification(served: Serve) -> None:
    model = served("ElectraForSequenceClassification")
    (one,) = call(model, GOOD)
    assert one["label"] in ("LABEL_0", "LABEL_1") and 0.5 <= one["score"] <= 1
    first, second = call(model, [GOOD, BAD])
    assert first == one and second["label"].startswith("LABEL_")
    both = call(model, GOOD, top_k=2)
    assert sum(answer["score"] for answer in both) == pytest.approx(1)
    assert call(model, {"text": GOOD, "text_pair": BAD})


def test_other_bodies(served: Serve) -> None:
    model = served("ElectraForSequenceClassification")
    expected = call(model, [GOOD, BAD])
    assert model.post(f"inputs\n{GOOD}\n{BAD}\n", "text/csv").json == expected
    assert model.post(f'{{"inputs": "{GOOD}"}}\n"{BAD}"\n', "application/jsonlines").json == expected
    assert model.post(GOOD, "text/plain").json == call(model, GOOD)
    assert model.post(json.dumps(GOOD)).json == call(model, GOOD)
    lines = model.post(json.dumps([GOOD, BAD]), Accept="text/csv").body.decode().splitlines()
    assert lines[0] == "label,score" and len(lines) == 3


def test_several_calls_go_through_the_model_together(served: Serve) -> None:
    model = served("ElectraForSequenceClassification")
    bodies = [GOOD, [GOOD, BAD], BAD, "이 영화는 정말 재미있다"]
    requests = [(json.dumps({"inputs": inputs}), {"Content-Type": "application/json"}) for inputs in bodies]
    alone = [call(model, inputs) for inputs in bodies]
    for _ in range(3):  # the first batch is computed both ways
        together = [response.json for response in model.post_all(*requests)]
        for one, other in zip(together, alone, strict=True):
            assert [answer["label"] for answer in one] == [answer["label"] for answer in other]
            assert [answer["score"] for answer in one] == pytest.approx([answer["score"] for answer in other], abs=1e-4)


def test_a_bad_call_among_several_fails_alone(served: Serve) -> None:
    model = served("ElectraForSequenceClassification")
    bodies = [{"inputs": GOOD}, {"inputs": 5}, {"inputs": BAD, "parameters": {"nonsense": 1}}, {"inputs": BAD}]
    responses = model.post_all(*((json.dumps(body), {"Content-Type": "application/json"}) for body in bodies))
    assert [isinstance(response.item, Exception) for response in responses] == [False, True, True, False]


def test_token_classification(served: Serve) -> None:
    words = call(served("BertForTokenClassification"), "Anna lives in Berlin")
    assert words[0].keys() >= {"entity", "score", "word", "start", "end"}
    groups = call(served("BertForTokenClassification"), ["Anna lives", "in Berlin"], aggregation_strategy="simple")
    assert len(groups) == 2 and "entity_group" in groups[0][0]


def test_question_answering(served: Serve) -> None:
    model, context = served("BertForQuestionAnswering"), "Anna lives in Berlin and works in Paris"
    question = {"question": "what is the name of the city", "context": context}
    answer = call(model, question)
    assert answer["answer"] == context[answer["start"] : answer["end"]] != ""
    assert model.post(json.dumps(question)).json == answer
    assert len(call(model, question, top_k=3)) == 3
    assert call(model, [question, question]) == [answer, answer]
    long = call(model, {**question, "context": f"{context} " * 20}, max_seq_len=40)
    assert 0 <= long["score"] <= 1
    assert "takes an object of question and context" in str(model.post('{"inputs": "Berlin"}').error)


def test_zero_shot_classification(tiny: Tiny, archive: Archive) -> None:
    folder = archive(
        tiny("BertForSequenceClassification", **ENTAILMENT),
        **{"huggingface.json": '{"task": "zero-shot-classification"}'},
    )
    model = Served(folder)
    answer = call(model, GOOD, candidate_labels=["film", "music"])
    assert sorted(answer["labels"]) == ["film", "music"] and sum(answer["scores"]) == pytest.approx(1)
    assert "must have the labels" in str(model.post(json.dumps({"inputs": GOOD})).error)


def test_zero_shot_needs_a_model_of_entailment(tiny: Tiny, archive: Archive) -> None:
    task = '{"task": "zero-shot-classification"}'
    with pytest.raises(BadModelError, match=r"needs a model of entailment.*LABEL_0, LABEL_1"):
        Served(archive(tiny("ElectraForSequenceClassification"), **{"huggingface.json": task}))


def test_fill_mask(served: Serve) -> None:
    model = served("BertForMaskedLM")
    answers = call(model, "the [MASK] was good", top_k=3)
    assert len(answers) == 3 and answers[0].keys() == {"score", "token", "token_str", "sequence"}
    response = model.post('{"inputs": "nothing is masked"}')
    assert response.status == 400 and "mask_token" in str(response.error)


def test_features_and_sentence_embeddings(tiny: Tiny, archive: Archive, served: Serve) -> None:
    features = numpy.array(call(served("BertModel"), GOOD))
    assert features.shape == (1, 6, 32)
    modules = json.dumps([{"type": "sentence_transformers.models.Transformer"}, {"type": "x.Normalize"}])
    embed = Served(archive(tiny("BertModel"), **{"modules.json": modules}))
    vectors = numpy.array(call(embed, [GOOD, BAD]))
    assert vectors.shape == (2, 32) and numpy.linalg.norm(vectors, axis=1) == pytest.approx([1, 1])
    mean = features[0].mean(0)
    assert vectors[0] == pytest.approx(mean / numpy.linalg.norm(mean), abs=1e-5)
    assert numpy.linalg.norm(call(embed, GOOD, normalize=False)) == pytest.approx(numpy.linalg.norm(mean), rel=1e-4)


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (None, "generated_text"),
        ("summarization", "summary_text"),
        ("translation_en_to_ko", "translation_text"),
    ],
)
def test_text_for_a_text(tiny: Tiny, archive: Archive, task: str | None, name: str) -> None:
    settings = {"huggingface.json": json.dumps({"task": task})} if task else {}
    model = Served(archive(tiny("T5ForConditionalGeneration"), **settings))
    (answer,) = call(model, GOOD, max_new_tokens=5)
    assert answer.keys() == {name}
    assert call(model, [GOOD, BAD], max_new_tokens=5)[0] == answer


def test_text_generation(served: Serve) -> None:
    model = served("GPT2LMHeadModel")
    (answer,) = call(model, GOOD, max_new_tokens=5, do_sample=False)
    assert answer["generated_text"].startswith(GOOD)
    (rest,) = call(model, GOOD, max_new_tokens=5, do_sample=False, return_full_text=False)
    assert answer["generated_text"] == GOOD + rest["generated_text"]
    assert [len(each) for each in call(model, [GOOD, BAD], max_new_tokens=3)] == [1, 1]


@pytest.mark.parametrize("architecture", ["GPT2LMHeadModel", "T5ForConditionalGeneration"])
def test_a_text_is_sent_as_it_is_made(served: Serve, architecture: str) -> None:
    model = served(architecture)
    response = call(model, GOOD, stream=True, max_new_tokens=6, do_sample=False)
    assert response.content_type == "application/jsonlines"
    lines = [json.loads(line) for line in response.item]
    text = "".join(line["token"]["text"] for line in lines)
    assert lines[-1]["generated_text"] == text
    whole = call(model, GOOD, max_new_tokens=6, do_sample=False)[0]["generated_text"]
    assert text.strip() == whole.removeprefix(GOOD).strip()


def test_a_stream_that_nobody_reads_ends(served: Serve) -> None:
    chunks = call(served("GPT2LMHeadModel"), GOOD, stream=True, max_new_tokens=40).item
    assert next(chunks)
    chunks.close()
    with pytest.raises(StopIteration):
        next(chunks)


def test_what_cannot_be_streamed(served: Serve) -> None:
    assert call(served("BertForMaskedLM"), "a [MASK]", stream=True).status == 400
    assert call(served("GPT2LMHeadModel"), [GOOD, BAD], stream=True).status == 400
    failed = call(served("GPT2LMHeadModel"), GOOD, stream=True, num_beams=2)
    with pytest.raises(Exception, match="batch size 1"):
        next(failed.item)


def test_image_classification(served: Serve) -> None:
    model, image = served("ViTForImageClassification"), picture(numpy.zeros((8, 8, 3)))
    answers = model.post(image, "image/png").json
    assert {answer["label"] for answer in answers} == {"cat", "dog"}
    encoded = base64.b64encode(image).decode()
    assert call(model, encoded) == answers
    assert call(model, [encoded, encoded], top_k=1) == [[answers[0]], [answers[0]]]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/cat.png", "/etc/hostname", "file:///etc/hostname"])
def test_nothing_is_fetched_for_a_caller(served: Serve, address: str) -> None:
    response = served("ViTForImageClassification").post(json.dumps({"inputs": address}))
    assert response.status == 400 and "nothing is fetched" in str(response.error)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{}", 'the body has no "inputs"'),
        ('{"inputs": []}', '"inputs" is an empty list'),
        ('{"inputs": ["a", 5]}', "inputs[1]: the model takes a text; given a number"),
        ('{"inputs": {"a": 1}}', "the model takes a text, or an object of text and text_pair; given an object of 'a'"),
        ('{"inputs": "a", "top_k": 2}', "beside \"inputs\" the body has 'top_k'; parameters of the model belong"),
        ('{"inputs": "a", "parameters": 3}', '"parameters" must be an object of named arguments; given 3'),
        ('{"inputs": "a", "parameters": {"topk": 3}}', "the parameter 'topk' is not known; this model takes"),
        ('{"inputs": "a", "parameters": {"function_to_apply": "x"}}', "the model cannot take the parameters"),
        ('{"inputs": "a", "stream": 1}', '"stream" must be true or false; given 1'),
        (json.dumps({"inputs": "film " * 100}), "the text has 102 tokens, and the model takes 64"),
    ],
)
def test_bad_bodies(served: Serve, body: str, text: str) -> None:
    response = served("ElectraForSequenceClassification").post(body)
    assert response.status == 400
    assert text in str(response.error)


def test_a_long_text_can_be_cut(served: Serve) -> None:
    assert call(served("ElectraForSequenceClassification"), "film " * 100, truncation=True)


@pytest.mark.parametrize("name", ["custom_generate", "assistant_model", "trust_remote_code", "num_workers", "streamer"])
def test_parameters_that_reach_code_are_refused(served: Serve, name: str) -> None:
    body = {"inputs": GOOD, "parameters": {"max_new_tokens": 2, name: "x"}}
    response = served("GPT2LMHeadModel").post(json.dumps(body))
    assert response.status == 400 and f"the parameter {name!r} is not known" in str(response.error)
    body["parameters"] = {"generate_kwargs": {name: "x"}}
    assert served("GPT2LMHeadModel").post(json.dumps(body)).status == 400


# What an archive has to hold


def without(folder: Path, target: Path, *names: str) -> Path:
    return Path(shutil.copytree(folder, target, ignore=lambda _, __: names))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "config.json is missing: the archive's root must hold what model.save_pretrained"),
        (
            "tokenizer.json",
            "the tokenizer is missing, which the task text-classification needs: none of tokenizer.json",
        ),
    ],
)
def test_what_is_missing_is_named(tiny: Tiny, tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(BadModelError) as raised:
        Served(without(tiny("ElectraForSequenceClassification"), tmp_path / "model", name))
    assert text in str(raised.value)


def test_a_missing_processor_is_named(tiny: Tiny, tmp_path: Path) -> None:
    folder = without(tiny("ViTForImageClassification"), tmp_path / "model", "preprocessor_config.json")
    with pytest.raises(BadModelError, match=r"preprocessor_config\.json is missing"):
        Served(folder)


def test_weights_in_shards(tiny: Tiny, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    whole = tiny("ElectraForSequenceClassification")
    folder = without(whole, tmp_path / "model", "model.safetensors")
    AutoModelForSequenceClassification.from_pretrained(whole).save_pretrained(folder, max_shard_size="30KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert call(Served(folder), GOOD) == call(Served(whole), GOOD)
    shards[0].unlink()
    with pytest.raises(BadModelError, match=f"{shards[0].name} is missing, a part of the weights"):
        Served(folder)


def test_weights_of_pytorch_are_not_unpickled(tiny: Tiny, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    whole = tiny("ElectraForSequenceClassification")
    folder = without(whole, tmp_path / "model", "model.safetensors")
    torch.save(load_file(whole / "model.safetensors"), folder / "pytorch_model.bin")
    assert call(Served(folder), GOOD) == call(Served(whole), GOOD)
    torch.save({"electra.x": Served}, folder / "pytorch_model.bin")
    with pytest.raises(BadModelError, match="its weights hold more than tensors"):
        Served(folder)


def test_weights_without_a_head_are_refused(tiny: Tiny, archive: Archive) -> None:
    """Transformers would make the head up, at random."""
    task = '{"task": "text-classification"}'
    with pytest.raises(BadModelError, match=r"the weights lack classifier\.bias, classifier\.weight, which Bert"):
        Served(archive(tiny("BertModel"), **{"huggingface.json": task}))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (
            {"model_type": "mine", "auto_map": {"AutoModel": "mine.Mine"}},
            "the model's own code is needed (auto_map: AutoM",
        ),
        ({"model_type": "mine"}, "\"model_type\" is 'mine', which transformers"),
        ({"architectures": None}, 'config.json names no "architectures"'),
        ({"architectures": ["BertForNothing"]}, "the architecture BertForNothing is made for no task that is known"),
    ],
)
def test_a_config_that_cannot_be_served(tiny: Tiny, archive: Archive, config: dict[str, Any], text: str) -> None:
    folder = tiny("BertForMaskedLM")
    changed = {**json.loads((folder / "config.json").read_text()), **config}
    with pytest.raises(BadModelError) as raised:
        Served(archive(folder, **{"config.json": json.dumps(changed)}))
    assert text in str(raised.value)
    if "model_type" in config:
        assert "add a code/inference.py" in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ('{"task": "telepathy"}', "huggingface.json names the task 'telepathy'; it must be one of"),
        ('{"tasks": "ner"}', 'huggingface.json: "tasks": "ner": it holds texts named task'),
        ("[]", "huggingface.json holds a list; it must hold an object, such as"),
        ("{", "huggingface.json is not JSON"),
        ('{"task": "image-classification"}', "a model of the type 'bert' does not do this task"),
    ],
)
def test_settings_of_an_archive(tiny: Tiny, archive: Archive, settings: str, text: str) -> None:
    folder = archive(tiny("BertForMaskedLM"), **{"huggingface.json": settings, "preprocessor_config.json": "{}"})
    with pytest.raises(BadModelError) as raised:
        Served(folder)
    assert text in str(raised.value)


def test_the_task_of_the_environment(tiny: Tiny, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TASK", "feature-extraction")
    assert numpy.array(call(Served(tiny("BertModel")), GOOD)).shape == (1, 6, 32)
    own = archive(tiny("BertForMaskedLM"), **{"huggingface.json": '{"task": "fill-mask"}'})
    assert call(Served(own), "a [MASK]")[0]["token_str"]
    monkeypatch.setenv("HF_TASK", "telepathy")
    with pytest.raises(BadSettingError, match="HF_TASK names the task 'telepathy'"):
        Served(tiny("BertModel"))


# Scripts


def test_a_script_gets_the_pipeline(tiny: Tiny, archive: Archive) -> None:
    predict = "def predict_fn(data, model):\n    return {'task': model.task, 'answer': model(data['inputs'])}\n"
    answer = call(Served(archive(tiny("ElectraForSequenceClassification"), **{"code/inference.py": predict})), GOOD)
    assert answer["task"] == "text-classification" and answer["answer"][0]["label"].startswith("LABEL_")


def test_a_script_without_predict_fn(tiny: Tiny, archive: Archive) -> None:
    source = "def input_fn(body, content_type):\n    return {'inputs': body.decode().upper()}\n"
    folder = archive(tiny("ElectraForSequenceClassification"), **{"code/inference.py": source})
    assert Served(folder).post("film", "text/plain").json[0]["label"].startswith("LABEL_")


def test_a_script_that_loads_its_model(tiny: Tiny, archive: Archive) -> None:
    source = """
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
def model_fn(model_dir):
    parts = (kind.from_pretrained(model_dir) for kind in (AutoModelForSequenceClassification, AutoTokenizer))
    return pipeline("text-classification", **dict(zip(("model", "tokenizer"), parts)))
"""
    folder = archive(tiny("ElectraForSequenceClassification"), **{"code/inference.py": source})
    assert call(Served(folder), GOOD)[0]["label"].startswith("LABEL_")
