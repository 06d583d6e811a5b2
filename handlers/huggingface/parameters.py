"""Which parameters a caller may give: those that the pipeline names, and those of generation that are plain values.

Others reach into `generate` or a tokenizer, where some load code or another model, or start processes.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from polyhost.handlers.errors import BadBodyError

_TOKENIZER = frozenset({"truncation", "max_length", "padding", "add_special_tokens"})
_ZERO_SHOT = frozenset({"candidate_labels", "hypothesis_template", "multi_label"})
_NESTED = ("generate_kwargs", "tokenize_kwargs", "tokenizer_kwargs", "tokenizer_encode_kwargs")
# Of objects, files, compilers and addresses.
_REFUSED = frozenset(
    {
        "assistant_model", "assistant_tokenizer", "cache_config", "cache_implementation", "compile_config",
        "custom_generate", "disable_compile", "feature_extractor", "generation_config", "return_tensors", "self",
        "streamer", "timeout", "tokenizer", "transformers_version", "trust_remote_code", "watermarking_config",
    }
)  # fmt: skip


def known(pipeline: Any) -> frozenset[str]:
    """Return the names of the parameters that this pipeline takes."""
    import transformers

    arguments = inspect.signature(type(pipeline)._sanitize_parameters).parameters.values()
    names = {argument.name for argument in arguments if argument.kind is not inspect.Parameter.VAR_KEYWORD}
    if type(pipeline).__name__ == "TextClassificationPipeline":
        names |= _TOKENIZER
    if pipeline.task.startswith("zero-shot-"):
        names |= _ZERO_SHOT
    if pipeline._pipeline_calls_generate:
        names |= {name for name in vars(transformers.GenerationConfig()) if not name.startswith("_")}
    return frozenset(names) - _REFUSED


def check(given: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raise BadBodyError for a parameter that is not known."""
    for name, value in given.items():
        if name not in known:
            raise BadBodyError(f"the parameter {name!r} is not known; this model takes {', '.join(sorted(known))}")
        if name in _NESTED:
            if not isinstance(value, dict):
                raise BadBodyError(f"the parameter {name!r} must be an object; given {value!r:.100}")
            check(value, known | _TOKENIZER)
