"""From an archive's files to a pipeline. All comes from the archive: nothing from a hub, and no code."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import constants

from polyhost.handlers.errors import BadModelError
from polyhost.handlers.huggingface import adapters, archive, pipelines, tasks
from polyhost.handlers.huggingface.archive import Files

# What a task does without: a bare model's pooler, whose output is not used.
_UNUSED = {"feature-extraction": ("pooler.",), tasks.SENTENCE_EMBEDDINGS: ("pooler.",)}
_PROCESSORS = {
    "_load_image_processor": ("image_processor", "AutoImageProcessor"),
    "_load_feature_extractor": ("feature_extractor", "AutoFeatureExtractor"),
    "_load_video_processor": ("video_processor", "AutoVideoProcessor"),
    "_load_processor": ("processor", "AutoProcessor"),
}
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_NAMED = 5  # of many weights, in an error


def stay_offline() -> None:
    """Keep transformers from a hub, whatever the environment says, from its bars of progress, and from their thread."""
    constants.HF_HUB_OFFLINE = True
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def leave_cuda_uninitialized() -> None:
    """Keep a prediction on the CPU from initializing CUDA, whose state no forked process can use.

    To ask whether a CUDA graph is being captured, as transformers 5 does before it masks a text's padding, initializes
    CUDA. Where it is not initialized, no graph is being captured.
    """
    torch.cuda.is_current_stream_capturing = _is_capturing


def _is_capturing(ask: Callable[[], bool] = torch.cuda.is_current_stream_capturing) -> bool:
    return torch.cuda.is_initialized() and ask()  # type: ignore[no-untyped-call]


def pipeline(files: Files, task: str, config: Mapping[str, Any], device: torch.device) -> Any:
    """Load the model and what makes its inputs. Raises BadModelError, which names what is missing."""
    stay_offline()
    leave_cuda_uninitialized()
    _check_no_code(config)
    kind, loaders = pipelines.of(task)
    known = _loaded(archive.CONFIG, transformers.AutoConfig, files.config)
    loader = _loader_of(known, loaders)
    parts = _parts(files.tokenizer, task, kind, known)
    model = _model(files, task, loader, known)
    if task == "zero-shot-classification":
        _check_entailment(model.config)
    if kind is pipelines.SentenceEmbeddings:
        parts["folder"] = files.weights
    return kind(model=model, task=task, device=device, **parts)


def _check_no_code(config: Mapping[str, Any]) -> None:
    model_type = config.get("model_type")
    if model_type in transformers.CONFIG_MAPPING:
        return
    if config.get("auto_map"):
        raise BadModelError(
            f"{archive.CONFIG}: the model's own code is needed (auto_map: {_listed(config['auto_map'])}), which is not "
            "run from a model's files: add a code/inference.py with a model_fn that imports it from the archive's code/"
        )
    raise BadModelError(
        f'{archive.CONFIG}: "model_type" is {model_type!r}, which transformers {transformers.__version__} does not '
        "know: add a code/inference.py with a model_fn"
    )


def _parts(directory: Path, task: str, kind: Any, config: Any) -> dict[str, Any]:
    """Return the tokenizer and the processors that the pipeline takes."""
    parts: dict[str, Any] = {}
    if kind._load_tokenizer:
        archive.check_tokenizer(directory, task)
        parts["tokenizer"] = _loaded("the tokenizer", transformers.AutoTokenizer, directory, config=config)
    for flag, (name, loader) in _PROCESSORS.items():
        if getattr(kind, flag):
            archive.check_processor(directory, task)
            parts[name] = _loaded("the processor", getattr(transformers, loader), directory)
    return parts


def _model(files: Files, task: str, loader: Any, config: Any) -> Any:
    archive.check_weights(files.weights)
    options = {"config": config, "output_loading_info": True, "dtype": "auto", "weights_only": True}
    model, report = _loaded("the model", loader, files.weights, **options)
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(_UNUSED.get(task, ("\0",))))
    if files.base is not None:
        missing = adapters.uncovered(files.archive, missing)
        model = adapters.applied(model, files.archive)
    _check_complete(task, type(model).__name__, missing, report.get("mismatched_keys"))
    return model.eval()


def _loader_of(config: Any, loaders: tuple[Any, ...]) -> Any:
    """Return the first of a task's classes that has a model of this type."""
    found = next((loader for loader in loaders if type(config) in loader._model_mapping), None)
    if found is None:
        names = ", ".join(loader.__name__ for loader in loaders)
        raise BadModelError(
            f"a model of the type {config.model_type!r} does not do this task ({names}); name another in "
            f"{archive.SETTINGS} or {tasks.TASK_VARIABLE}"
        )
    return found


def _loaded(what: str, loader: Any, directory: Path, **options: Any) -> Any:
    try:
        return loader.from_pretrained(directory, **_LOCAL, **options)
    except pickle.UnpicklingError as error:
        raise BadModelError(
            f"{what} cannot be loaded: its weights hold more than tensors, and are not unpickled; "
            "model.save_pretrained(folder) writes model.safetensors"
        ) from error
    except (OSError, ValueError, ImportError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "memory" in str(error):
            raise
        raise BadModelError(f"{what} cannot be loaded by transformers {transformers.__version__}: {error}") from error


def _check_complete(task: str, architecture: str, missing: list[str], mismatched: Any) -> None:
    """Refuse weights that lack a part: transformers would make it up at random, and the answers with it."""
    if missing:
        raise BadModelError(
            f"the weights lack {_listed(missing)}, which {architecture} needs for the task {task}: fine-tune the model "
            f"for it, or name the task that it is made for in {archive.SETTINGS}"
        )
    if mismatched:
        raise BadModelError(
            f"the weights have other shapes than {archive.CONFIG} says: {_listed(sorted(map(str, mismatched)))}"
        )


def _check_entailment(config: Any) -> None:
    labels = config.label2id = config.label2id or {label: index for index, label in config.id2label.items()}
    if not any(label.lower().startswith("entail") for label in labels):
        raise BadModelError(
            "the task zero-shot-classification needs a model of entailment, one of whose labels begins with "
            f'"entail"; {archive.CONFIG} has the labels {_listed(labels)}'
        )


def _listed(names: Any) -> str:
    shown = [str(name) for name in names]
    return ", ".join(shown[:_NAMED]) + (f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else "")
