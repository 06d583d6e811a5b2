"""Which task a model is for: what the archive says, else HF_TASK, else what its architecture is made for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyhost.handlers.errors import BadModelError, BadSettingError
from polyhost.handlers.huggingface import archive
from polyhost.handlers.huggingface.archive import SETTINGS
from polyhost.handlers.settings import Settings

TASK_VARIABLE = "HF_TASK"
SENTENCE_EMBEDDINGS = "sentence-embeddings"
SUMMARIZATION, TRANSLATION, TEXT_TO_TEXT = "summarization", "translation", "text2text-generation"
QUESTION_ANSWERING = "question-answering"
TEXT_GENERATION = "text-generation"

ALIASES: Mapping[str, str] = {
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "text-to-speech": "text-to-audio",
    "sentence-similarity": SENTENCE_EMBEDDINGS,
}
# The ends of architectures' names, as SageMaker's Hugging Face image reads them (transformers_utils.py).
_BY_ARCHITECTURE = (
    ("TapasForQuestionAnswering", "table-question-answering"),
    ("ForQuestionAnswering", QUESTION_ANSWERING),
    ("ForTokenClassification", "token-classification"),
    ("ForSequenceClassification", "text-classification"),
    ("ForMaskedLM", "fill-mask"),
    ("ForImageClassification", "image-classification"),
    ("ForCausalLM", TEXT_GENERATION),
    ("LMHeadModel", TEXT_GENERATION),
    ("T5ForConditionalGeneration", TEXT_TO_TEXT),
    ("BartForConditionalGeneration", TEXT_TO_TEXT),
    ("PegasusForConditionalGeneration", TEXT_TO_TEXT),
    ("M2M100ForConditionalGeneration", TEXT_TO_TEXT),
    ("MarianMTModel", TEXT_TO_TEXT),
    ("EncoderDecoderModel", TEXT_TO_TEXT),
)
_SENTENCE_TRANSFORMER = "modules.json"


def choose(directory: Path, config: Mapping[str, Any], settings: Settings) -> str:
    """Return the model's task. Raises BadModelError, BadSettingError for a variable."""
    if own := archive.settings(directory).task:
        return _known(own, f"{SETTINGS} names", BadModelError)
    if settings.task:
        return _known(settings.task, f"{TASK_VARIABLE} names", BadSettingError)
    if archive.is_adapter(directory):
        from polyhost.handlers.huggingface import adapters

        if of_adapter := adapters.task(directory):
            return of_adapter
    return _by_architecture(directory, config)


def is_text_to_text(task: str) -> bool:
    """Return whether the task is one of those in which a model writes a text for a text."""
    return task in (SUMMARIZATION, TRANSLATION, TEXT_TO_TEXT) or task.startswith(f"{TRANSLATION}_")


def _known(task: str, origin: str, error: type[BadModelError]) -> str:
    from polyhost.handlers.huggingface import pipelines  # imports transformers

    task = ALIASES.get(task, task)
    if not is_text_to_text(task) and task not in pipelines.supported():
        names = ", ".join(sorted(pipelines.supported()))
        raise error(f"{origin} the task {task!r}; it must be one of {names}, or one of an inference.py's own")
    return task


def _by_architecture(directory: Path, config: Mapping[str, Any]) -> str:
    names = config.get("architectures") or []
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    if name is None:
        raise BadModelError(
            f'{archive.CONFIG} names no "architectures", so that the task is unknown: name it in {SETTINGS}, such as '
            f'{{"task": "text-classification"}}, or in {TASK_VARIABLE}'
        )
    if (directory / _SENTENCE_TRANSFORMER).is_file():
        return SENTENCE_EMBEDDINGS
    known = next((task for end, task in _BY_ARCHITECTURE if name.endswith(end)), None)
    if known is not None:
        return known
    from polyhost.handlers.huggingface import pipelines  # imports transformers

    task = pipelines.task_of_architecture(name)
    if task == "feature-extraction" and archive.takes_pictures_only(directory):
        return "image-feature-extraction"
    if task is None:
        raise BadModelError(
            f"the architecture {name} is made for no task that is known: name one in {SETTINGS}, such as "
            f'{{"task": "feature-extraction"}}, or in {TASK_VARIABLE}; or add a code/inference.py with a model_fn and '
            "a predict_fn"
        )
    return task
