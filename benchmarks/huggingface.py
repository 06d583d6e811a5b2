"""Classifiers of Hugging Face's transformers: cold, hot, and many of them, beside the stock stack.

python -m benchmarks.huggingface --stock build/stock-venv/bin/python [--kinds electra,minilm]. `scripts/stock-venv`
makes that environment. Random weights of two sizes: a tiny ELECTRA, and a BERT of MiniLM's size, 90 MB.

python -m benchmarks.huggingface --limit-mb 4096: fifty of the latter within this limit of memory, without stock. Needs
root, for the control group.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.available_memory import settled_mb
from benchmarks.cold import cold
from benchmarks.context import Context, timed_first_response
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.hot import hot
from benchmarks.machine import Machine
from benchmarks.memory_limit import memory_limit
from benchmarks.models import Kind, Shelf
from benchmarks.rows import beside_stock, print_row
from benchmarks.servers import ROOT, BenchServer, Stack, native, running
from polyhost.processes import proportional_bytes

MANY = 50  # of MiniLM's size
_SENTENCE = "the film was good and the music was fine"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ZYGOTE = {"POLYHOST_ZYGOTES": "huggingface"}


def _electra(folder: Path) -> None:
    _save(folder, "Electra", vocab_size=2000, embedding_size=64, hidden_size=64, num_hidden_layers=2,
          num_attention_heads=2, intermediate_size=128)  # fmt: skip


def _minilm(folder: Path) -> None:
    _save(folder, "Bert", vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
          intermediate_size=1536)  # fmt: skip


def _save(folder: Path, family: str, **sizes: int) -> None:
    transformers = importlib.import_module("transformers")
    tokenizers = importlib.import_module("tokenizers")
    vocabulary = {word: index for index, word in enumerate([*_SPECIAL, *dict.fromkeys(_SENTENCE.split())])}
    words = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token=_SPECIAL[1]))
    words.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _SPECIAL, strict=True))
    config = getattr(transformers, f"{family}Config")(**sizes)
    getattr(transformers, f"{family}ForSequenceClassification")(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)


def _body() -> bytes:
    return json.dumps({"inputs": _SENTENCE}).encode()


ELECTRA = Kind("electra", "huggingface", "application/json", _electra, _body)
MINILM = Kind("minilm", "huggingface", "application/json", _minilm, _body)
KINDS = (ELECTRA, MINILM)


def pss_mb(server: BenchServer) -> float:
    """Return what the server's processes hold, shared pages by their share: other programs do not change it."""
    total = 0
    for pid in server.process.processes():
        with suppress(OSError):  # it has ended
            total += proportional_bytes(pid)
    return total / 1e6


def further_copies(context: Context, kind: Kind) -> dict[str, float]:
    """Measure how much more the server's processes hold for each further copy of a model, with files of its own."""
    body, count = context.body(kind), context.effort.density_copies(context.server.stack.name)
    with context.fresh_copies(kind, count + 1) as models, context.server.client() as client:
        first, *others = models
        timed_first_response(client, first, body)
        before = settled_mb(lambda: pss_mb(context.server))
        for model in others:
            timed_first_response(client, model, body)
        grown = settled_mb(lambda: pss_mb(context.server)) - before
        for model in models:
            client.unload(model)
    return {"per_model_mb": grown / count, "models": count}


def many(context: Context, kind: Kind, count: int = MANY, *, cached: bool = True) -> dict[str, float]:
    """Load many models of their own weights, and ask each of them again once all are loaded.

    `cached`: whether their files may be in memory already, which then counts for no control group.
    """
    body = context.body(kind)
    with context.fresh_copies(kind, count) as models, context.server.client() as client:
        if not cached:
            _drop_from_memory(model.folder for model in models)
        before = settled_mb(lambda: pss_mb(context.server))
        for model in models:
            timed_first_response(client, model, body)
        answered = sum(bool(client.invoke(model, body)) for model in models)
        grown = settled_mb(lambda: pss_mb(context.server)) - before
        return {"models": count, "answered": answered, "per_model_mb": grown / count}


def _drop_from_memory(folders: Iterable[Path]) -> None:
    for path in (file for folder in folders for file in folder.rglob("*") if file.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def within(limit_mb: int, shelf: Shelf) -> dict[str, float]:
    """Load many models in a container with a limit of memory. Raises ResponseError if one is refused."""
    with memory_limit(limit_mb << 20) as limit:
        stack = native(**_ZYGOTE)
        with running(replace(stack, command=limit.around(stack.command))) as server:
            figures = many(Context(server, shelf, FULL), MINILM, cached=False)
            found = {**figures, "used_mb": limit.group.used() / 1e6, "page_cache_mb": limit.group.page_cache() / 1e6}
            return {**found, "killed": limit.group.oom_kills()}


def _measure(stack: Stack, kind: Kind, shelf: Shelf, effort: Effort) -> Iterator[tuple[str, dict[str, float]]]:
    with running(stack) as server:
        context = Context(server, shelf, effort)
        yield "cold", cold(context, kind)
        yield "hot", hot(context, kind)
        yield "copies", further_copies(context, kind)
        if kind is MINILM and stack.name != "stock":
            yield "many", many(context, kind)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.huggingface", description=__doc__)
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument("--stock", type=Path, help="the Python of the stock stack's environment")
    either.add_argument("--limit-mb", type=int, help="the memory for many models, in MiB")
    parser.add_argument("--kinds", default=",".join(kind.name for kind in KINDS), help="which of %(default)s")
    parser.add_argument("--quick", action="store_true", help="few samples, short runs: to try, not to publish")
    given = parser.parse_args(arguments)
    shelf = Shelf(ROOT / "build" / "bench-models")
    shelf.fill(iter(KINDS))
    print(Machine.current())
    if given.limit_mb is not None:
        print_row(MINILM, "native", f"in {given.limit_mb} MiB", within(given.limit_mb, shelf))
        return 0
    effort = replace(QUICK if given.quick else FULL, copies=20)
    kinds = [kind for kind in KINDS if kind.name in given.kinds.split(",")]
    return beside_stock(given.stock.absolute(), shelf, kinds, effort, _measure)


if __name__ == "__main__":
    sys.exit(main())
