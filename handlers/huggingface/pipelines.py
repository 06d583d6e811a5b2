"""The pipelines that serve the tasks: those of transformers, and those that it has no more.

transformers 5 has no pipeline for question answering, summarization and translation, and never had one for embeddings
of whole sentences. What they take and return is what its version 4 did, and SageMaker's image does.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.pipelines import SUPPORTED_TASKS
from transformers.pipelines.base import ChunkPipeline, Pipeline

from polyhost.handlers.errors import BadBodyError
from polyhost.handlers.huggingface import tasks

_LEFT_OUT = frozenset({"keypoint-matching", "decision"})  # which take no single input


def supported() -> frozenset[str]:
    """Return the names of the tasks."""
    return frozenset(SUPPORTED_TASKS) - _LEFT_OUT | _own().keys()


def of(task: str) -> tuple[Any, tuple[Any, ...]]:
    """Return the class of a task's pipeline, and the classes that load its model."""
    task = tasks.TEXT_TO_TEXT if tasks.is_text_to_text(task) else task
    if task in _own():
        return _own()[task]
    entry = SUPPORTED_TASKS[task]
    return transformers.pipelines._resolve_impl(entry["impl"]), entry["pt"]


def task_of_architecture(architecture: str) -> str | None:
    """Return the first task whose models have this architecture, None if none has."""
    loaders = {task: entry["pt"] for task, entry in SUPPORTED_TASKS.items() if task not in _LEFT_OUT}
    loaders |= {task: loaders for task, (_, loaders) in _own().items() if task != tasks.SENTENCE_EMBEDDINGS}
    return next(
        (task for task, some in loaders.items() if any(architecture in _names(loader) for loader in some)), None
    )


@cache
def _own() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    return {
        tasks.QUESTION_ANSWERING: (QuestionAnswering, (transformers.AutoModelForQuestionAnswering,)),
        tasks.TEXT_TO_TEXT: (TextToText, (transformers.AutoModelForSeq2SeqLM,)),
        tasks.SUMMARIZATION: (TextToText, (transformers.AutoModelForSeq2SeqLM,)),
        tasks.TRANSLATION: (TextToText, (transformers.AutoModelForSeq2SeqLM,)),
        tasks.SENTENCE_EMBEDDINGS: (SentenceEmbeddings, (transformers.AutoModel,)),
    }


def _names(loader: Any) -> set[str]:
    """Return the names of the model classes that an auto class chooses from."""
    found = loader._model_mapping._model_mapping.values()
    return {name for names in found for name in (names if isinstance(names, tuple) else (names,))}


class TextToText(Pipeline):  # type: ignore[misc]
    """Writes a text for a text: a summary, a translation, or what else the model was trained for."""

    _load_processor = _load_image_processor = _load_feature_extractor = False
    _load_tokenizer = True
    _pipeline_calls_generate = True

    def _sanitize_parameters(
        self, truncation: Any = None, src_lang: str | None = None, tgt_lang: str | None = None, **generation: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        given = {"truncation": truncation, "src_lang": src_lang, "tgt_lang": tgt_lang}
        return {name: value for name, value in given.items() if value is not None}, generation, {}

    def preprocess(self, text: str, truncation: Any = False, **languages: str) -> Any:
        settings = (getattr(self.model.config, "task_specific_params", None) or {}).get(self.task) or {}
        prefixed = (settings.get("prefix") or "") + text
        if languages:
            if not hasattr(self.tokenizer, "_build_translation_inputs") or len(languages) != 2:
                raise BadBodyError("src_lang and tgt_lang are given together, to a model of several languages")
            return self.tokenizer._build_translation_inputs(
                prefixed, return_tensors="pt", truncation=truncation, **languages
            )
        return self.tokenizer(prefixed, return_tensors="pt", truncation=truncation)

    def _forward(self, model_inputs: Any, **generation: Any) -> Any:
        model_inputs.pop("token_type_ids", None)
        written = self.model.generate(**model_inputs, **self._prepare_generate_kwargs(generation))
        rows = model_inputs["input_ids"].shape[0]
        return {
            "written": written.reshape(rows, -1, written.shape[-1])
        }  # several for a text, with num_return_sequences

    def postprocess(self, outputs: Any) -> list[dict[str, str]]:
        name = {tasks.SUMMARIZATION: "summary_text", tasks.TEXT_TO_TEXT: "generated_text"}.get(
            self.task, "translation_text"
        )
        return [{name: self.tokenizer.decode(tokens, skip_special_tokens=True)} for tokens in outputs["written"][0]]


class SentenceEmbeddings(Pipeline):  # type: ignore[misc]
    """Returns one vector for a text, pooled as the archive of a sentence transformer says, else the mean."""

    _load_processor = _load_image_processor = _load_feature_extractor = False
    _load_tokenizer = True

    def __init__(self, *arguments: Any, folder: Path, **named: Any) -> None:
        self._pooling, self._normalized = _pooling(folder)
        super().__init__(*arguments, **named)

    def _sanitize_parameters(
        self, truncation: Any = True, normalize: bool | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {"truncation": truncation}, {}, {} if normalize is None else {"normalize": normalize}

    def preprocess(self, text: str, truncation: Any = True) -> Any:
        return self.tokenizer(text, return_tensors="pt", truncation=truncation)

    def _forward(self, model_inputs: Any) -> Any:
        hidden = self.model(**model_inputs)[0]
        mask = model_inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        if self._pooling == "cls":
            return {"embedding": hidden[:, 0]}
        if self._pooling == "max":
            return {"embedding": hidden.masked_fill(mask == 0, float("-inf")).max(1).values}
        return {"embedding": (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)}

    def postprocess(self, outputs: Any, normalize: bool | None = None) -> list[float]:
        vector = outputs["embedding"][0].float()
        if self._normalized if normalize is None else normalize:
            vector = torch.nn.functional.normalize(vector, dim=0)
        numbers: list[float] = vector.tolist()
        return numbers


def _pooling(folder: Path) -> tuple[str, bool]:
    """Return the kind of pooling, and whether vectors are normalised, as sentence-transformers saves both."""
    modules = folder / "modules.json"
    kinds = [str(module.get("type", "")) for module in json.loads(modules.read_bytes())] if modules.is_file() else []
    path = folder / "1_Pooling" / "config.json"
    config = json.loads(path.read_bytes()) if path.is_file() else {}
    kind = "cls" if config.get("pooling_mode_cls_token") else "max" if config.get("pooling_mode_max_tokens") else "mean"
    return config.get("pooling_mode", kind), any(kind.endswith("Normalize") for kind in kinds)


class QuestionAnswering(ChunkPipeline):  # type: ignore[misc]
    """Finds the part of a context that answers a question."""

    _load_processor = _load_image_processor = _load_feature_extractor = False
    _load_tokenizer = True

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        max_answer_len: int | None = None,
        max_seq_len: int | None = None,
        doc_stride: int | None = None,
        handle_impossible_answer: bool | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        before = {"max_seq_len": max_seq_len, "doc_stride": doc_stride}
        after = {"top_k": top_k, "max_answer_len": max_answer_len, "handle_impossible_answer": handle_impossible_answer}
        return _given(before), {}, _given(after)

    def preprocess(self, inputs: Any, max_seq_len: int = 384, doc_stride: int = 128) -> Iterator[dict[str, Any]]:
        """Yield the question with each part of the context that fits beside it."""
        longest = min(max_seq_len, self.tokenizer.model_max_length)
        encoded = self.tokenizer(
            inputs["question"],
            inputs["context"],
            truncation="only_second",
            max_length=longest,
            stride=min(doc_stride, longest // 4),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_tensors="pt",
            padding=True,
        )
        offsets = encoded.pop("offset_mapping")
        encoded.pop("overflow_to_sample_mapping", None)
        count = len(encoded["input_ids"])
        for index in range(count):
            in_context = torch.tensor([[part == 1 for part in encoded.sequence_ids(index)]])
            part = {name: tensor[index : index + 1] for name, tensor in encoded.items()}
            yield {
                **part, "in_context": in_context, "offsets": offsets[index : index + 1], "context": inputs["context"],
                "is_last": index == count - 1,
            }  # fmt: skip

    def _forward(self, model_inputs: Any) -> dict[str, Any]:
        names = ("in_context", "offsets", "context", "is_last")
        kept = {name: model_inputs.pop(name) for name in names}
        output = self.model(**model_inputs)
        return {"start": output.start_logits, "end": output.end_logits, **kept}

    def postprocess(
        self, parts: Any, top_k: int = 1, max_answer_len: int = 15, handle_impossible_answer: bool = False
    ) -> Any:
        answers: list[dict[str, Any]] = []
        nothing = 1.0
        for part in parts:
            start, end, impossible = _scores(part)
            nothing = min(nothing, impossible)
            answers += _best(start, end, part, top_k, max_answer_len)
        if handle_impossible_answer:
            answers.append({"score": nothing, "start": 0, "end": 0, "answer": ""})
        answers = sorted(answers, key=lambda answer: -answer["score"])[:top_k]
        return answers[0] if top_k == 1 and answers else answers


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _scores(part: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return how probable each place is as start and as end, and that there is no answer (its mark is the first)."""
    inside = part["in_context"][0]
    allowed = inside.clone()
    allowed[0] = True
    start, end = (part[name][0].float().masked_fill(~allowed, float("-inf")).softmax(-1) for name in ("start", "end"))
    impossible = float(start[0] * end[0])
    return start * inside, end * inside, impossible


def _best(start: torch.Tensor, end: torch.Tensor, part: Any, top_k: int, max_answer_len: int) -> list[dict[str, Any]]:
    joint = torch.outer(start, end).triu().tril(max_answer_len - 1)
    scores, places = joint.flatten().topk(min(top_k, joint.numel()))
    found = []
    for score, place in zip(scores.tolist(), places.tolist(), strict=True):
        first, last = divmod(place, joint.shape[1])
        begin, stop = int(part["offsets"][0][first][0]), int(part["offsets"][0][last][1])
        found.append({"score": score, "start": begin, "end": stop, "answer": part["context"][begin:stop]})
    return found
