"""A loaded pipeline: called for one input, or for several together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from transformers.pipelines.base import ChunkPipeline, PipelineException

from polyhost.handlers.errors import BadBodyError
from polyhost.handlers.huggingface import loading, streams, tasks
from polyhost.handlers.huggingface.archive import Files
from polyhost.handlers.torch.handler import device

# Whose outputs for a row do not depend on the padding beside it. Others are computed one by one.
_JOINABLE = frozenset(
    {
        "fill-mask", "image-classification", "text-classification", "token-classification", "zero-shot-classification",
        tasks.QUESTION_ANSWERING, tasks.SENTENCE_EMBEDDINGS, tasks.TEXT_GENERATION,
    }
)  # fmt: skip
_MOST_TOGETHER = 16  # padded to the longest of them
_LIMITS = ("max_position_embeddings", "n_positions", "max_source_positions")
_LABELS = "candidate_labels"


def load(files: Files, task: str, config: Mapping[str, Any], gpu_id: int | None) -> "PipelineModel":
    """Load an archive's model for a task. Raises BadModelError."""
    return PipelineModel(loading.pipeline(files, task, config, device(gpu_id)), task)


class PipelineModel:
    """A pipeline and its task."""

    def __init__(self, pipeline: Any, task: str) -> None:
        self.pipeline = pipeline
        self.task = task
        self.writes_text = task == tasks.TEXT_GENERATION or tasks.is_text_to_text(task)
        tokenizer = pipeline.tokenizer
        self._pads = tokenizer is None or tokenizer.pad_token_id is not None
        generation = getattr(pipeline.model, "generation_config", None)
        defaults = getattr(pipeline, "_default_generation_config", None)  # which apply where the model says nothing
        self._samples = any(bool(each is not None and each.do_sample) for each in (generation, defaults))

    def is_joinable(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether inputs with these parameters may go through the model together."""
        known = self.task in _JOINABLE or tasks.is_text_to_text(self.task)
        sampled = self.writes_text and bool(parameters.get("do_sample", self._samples))
        return known and self._pads and not sampled

    def outputs(self, items: Sequence[Any], parameters: Mapping[str, Any]) -> list[Any]:
        """Return the output for each item. Raises BadBodyError for what the model cannot take."""
        if self.task.startswith("zero-shot-") and not parameters.get(_LABELS):
            raise BadBodyError(f'"parameters" must have the labels to choose from: {{"{_LABELS}": ["red", "blue"]}}')
        together = _MOST_TOGETHER if self.is_joinable(parameters) else 1
        found: list[Any] = self._checked(partial(self._outputs, items, together, parameters), items, parameters)
        return found

    def stream(self, item: Any, parameters: Mapping[str, Any]) -> Iterator[str]:
        """Return the lines of a streamed text."""
        call = partial(self.pipeline, item, **parameters)
        return streams.lines(
            lambda **more: self._checked(partial(call, **more), [item], parameters),
            self.pipeline.tokenizer,
            is_decoder=self.task == tasks.TEXT_GENERATION,
        )

    def in_form_of_call(self, outputs: list[Any], inputs: Any, parameters: Mapping[str, Any], *, single: bool) -> Any:
        """Return the outputs as a pipeline does for one input or for a list."""
        if single:
            return outputs if self._wraps(inputs, parameters) else outputs[0]
        if tasks.is_text_to_text(self.task) and all(len(output) == 1 for output in outputs):
            return [output[0] for output in outputs]
        return outputs

    def _outputs(self, items: Sequence[Any], together: int, parameters: Mapping[str, Any]) -> list[Any]:
        if len(items) > 1 and together > 1:
            return list(self.pipeline(list(items), batch_size=together, **parameters))
        size = {"batch_size": together} if isinstance(self.pipeline, ChunkPipeline) else {}
        outputs = [self.pipeline(item, **size, **parameters) for item in items]
        return [
            output[0] if self._wraps(item, parameters) else output for item, output in zip(items, outputs, strict=True)
        ]

    def _wraps(self, item: Any, parameters: Mapping[str, Any]) -> bool:
        """Return whether the pipeline puts the output for this one input into a list."""
        return self.task == "text-classification" and isinstance(item, str) and "top_k" not in parameters

    def _checked(self, call: Callable[[], Any], items: Sequence[Any], parameters: Mapping[str, Any]) -> Any:
        try:
            return call()
        except (BadBodyError, torch.OutOfMemoryError):
            raise
        except (PipelineException, ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
            text = self._too_long(items) or _input_error(error, parameters)
            if text is None:
                raise
            raise BadBodyError(text) from error

    def _too_long(self, items: Sequence[Any]) -> str | None:
        """Return a text if an input has more tokens than the model has places for."""
        config, tokenizer = self.pipeline.model.config, self.pipeline.tokenizer
        most = min((limit for name in _LIMITS if isinstance(limit := getattr(config, name, None), int)), default=None)
        texts = [item for item in items if isinstance(item, str)]
        if most is None or tokenizer is None or not texts:
            return None
        longest = max(len(tokens) for tokens in tokenizer(texts)["input_ids"])
        if longest <= most:
            return None
        return (
            f"the text has {longest} tokens, and the model takes {most}: send less, or let it be cut: "
            '{"inputs": ..., "parameters": {"truncation": true}}'
        )


def _input_error(error: Exception, parameters: Mapping[str, Any]) -> str | None:
    """Return a text for the caller if the error is due to the input, None if it is the model's."""
    if isinstance(error, PipelineException | ValueError):
        return f"the model cannot take the input: {error}"
    if parameters and isinstance(error, TypeError | KeyError):
        return f"the model cannot take the parameters {dict(parameters)!r:.200}: {error}"
    return None
