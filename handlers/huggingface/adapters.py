"""Adapters of PEFT: an archive with a small part of a model, which a base model beside the archives completes.

The base's weights are mapped from its own files, once for all models on the machine. An adapter's layers stay beside
the base's and are not merged into them: a merged model would have copies of its own of all that its adapter changes.
docs/huggingface.md has the figures.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from polyhost.handlers.errors import BadModelError
from polyhost.handlers.huggingface import archive

_TASKS: Mapping[str, str] = {  # PEFT's names for them
    "SEQ_CLS": "text-classification",
    "TOKEN_CLS": "token-classification",
    "QUESTION_ANS": "question-answering",
    "CAUSAL_LM": "text-generation",
    "SEQ_2_SEQ_LM": "text2text-generation",
    "FEATURE_EXTRACTION": "feature-extraction",
}
_INCOMPLETE = "Found missing adapter keys"


def task(directory: Path) -> str | None:
    """Return the task that an archive's adapter was trained for, None if it does not say."""
    named = archive.read_object(directory / archive.ADAPTER, "as PEFT's save_pretrained writes it").get("task_type")
    return _TASKS.get(str(named))


def uncovered(directory: Path, missing: list[str]) -> list[str]:
    """Return those of the base's missing weights that the adapter does not bring either."""
    saved = archive.read_object(directory / archive.ADAPTER, "").get("modules_to_save") or []
    return [name for name in missing if not set(name.split(".")) & set(saved)]


def applied(model: Any, directory: Path) -> Any:
    """Return the model with the adapter in it. Raises BadModelError."""
    import peft

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of names in transformers that PEFT uses
            # PEFT would leave what is missing at random values, and say so in a warning only.
            warnings.filterwarnings("error", message=_INCOMPLETE)
            # Where the base is: PEFT would load onto the first GPU of the machine, whichever one the model is for.
            options = {"local_files_only": True, "torch_device": "cpu"}
            completed = peft.PeftModel.from_pretrained(model, directory, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, Warning) as error:
        if isinstance(error, torch.OutOfMemoryError) or "memory" in str(error):
            raise
        raise BadModelError(f"the adapter does not fit its base by PEFT {peft.__version__}: {error}") from error
    # Its layers are in the model; an adapter of prompts needs PEFT's own model around it.
    return completed if completed.active_peft_config.is_prompt_learning else completed.get_base_model()
