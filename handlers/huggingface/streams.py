"""Text that is sent while it is made: a JSON line for each piece, as SageMaker's containers of large models do.

{"token": {"text": "Once "}}
{"token": {"text": "upon."}, "generated_text": "Once upon."}
"""

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import transformers

from polyhost.handlers.body import json_values

CONTENT_TYPE = "application/jsonlines"


class _Stop(transformers.StoppingCriteria):  # type: ignore[misc]
    """Ends a generation whose reader has gone."""

    def __init__(self) -> None:
        self.reader_left = threading.Event()

    def __call__(self, input_ids: Any, scores: Any, **named: Any) -> Any:
        import torch

        return torch.full((input_ids.shape[0],), self.reader_left.is_set(), device=input_ids.device, dtype=torch.bool)


class _Pieces(transformers.TextStreamer):  # type: ignore[misc]
    """Puts each piece of text into a queue, and None at the end."""

    def __init__(self, tokenizer: Any, queue: "SimpleQueue[str | Exception | None]") -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._queue = queue

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self._queue.put(text)


def lines(call: Callable[..., Any], tokenizer: Any, *, is_decoder: bool) -> Iterator[str]:
    """Yield the lines of what `call` generates, which runs in a thread. What it raises is raised here.

    `is_decoder`: whether the model repeats the prompt. The first piece is there before this returns its first line, so
    that a call that fails at once fails with a status.
    """
    queue: SimpleQueue[str | Exception | None] = SimpleQueue()
    stop = _Stop()
    streamer = _Pieces(tokenizer, queue)
    streamer.skip_prompt = is_decoder
    criteria = transformers.StoppingCriteriaList([stop])

    def generate() -> None:
        try:
            call(streamer=streamer, stopping_criteria=criteria)
            queue.put(None)
        except Exception as error:
            queue.put(error)

    thread = threading.Thread(target=generate, name="generation", daemon=True)
    thread.start()
    written = ""
    try:
        pending = _next(queue)
        while pending is not None:
            following = _next(queue)
            written += pending
            last = {} if following is not None else {"generated_text": written}
            yield json_values.dumps({"token": {"text": pending}, **last}) + "\n"
            pending = following
        if not written:
            yield json_values.dumps({"token": {"text": ""}, "generated_text": ""}) + "\n"
    finally:
        stop.reader_left.set()
        thread.join()


def _next(queue: "SimpleQueue[str | Exception | None]") -> str | None:
    piece = queue.get()
    if isinstance(piece, Exception):
        raise piece
    return piece
