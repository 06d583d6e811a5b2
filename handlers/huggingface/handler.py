"""Archives of Hugging Face's transformers: config.json, weights and tokenizer, as `save_pretrained` writes them.

The modules that need transformers are imported by a load: a script's model may be a plain network, and its defaults
need no more than PyTorch.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from polyhost.handlers.base import Handler, HandlerRequest, HandlerResponse, Source
from polyhost.handlers.batching import BatchingHandler
from polyhost.handlers.body import media_types
from polyhost.handlers.errors import BadBodyError, phase
from polyhost.handlers.huggingface import archive, calls, outputs, parameters, tasks
from polyhost.handlers.huggingface import inputs as call_inputs
from polyhost.handlers.huggingface.calls import PipelineCall
from polyhost.handlers.settings import Settings

if TYPE_CHECKING:
    from polyhost.handlers.huggingface.model import PipelineModel


_STREAM = b'"stream"'  # the least that the body of a streamed request has


@dataclass(frozen=True)
class Features:
    """The inputs of one call, or of several with the same parameters: `items`, each as the pipeline takes it."""

    items: Sequence[Any]
    call: PipelineCall

    def __len__(self) -> int:
        return len(self.items)


class HuggingFaceHandler(BatchingHandler):
    """Serves a pipeline of transformers."""

    model: "PipelineModel"

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._known: frozenset[str] = frozenset()

    def load(self, source: Source) -> None:
        files = archive.Files.of(source.directory, source.settings.base_models)
        config = archive.config(files.config)
        from polyhost.handlers.huggingface import model

        task = tasks.choose(source.directory, config, source.settings)
        self.model = model.load(files, task, config, source.gpu_id)
        self._known = parameters.known(self.model.pipeline)

    def respond(self, request: HandlerRequest) -> HandlerResponse:
        accept, call = self.decode(request)
        if call.stream:
            return self._streamed(call)
        with phase("predict"):
            prediction = self.predict(call, request)
        return self.encode(prediction, call, accept)

    def respond_all(self, requests: Sequence[HandlerRequest]) -> list[HandlerResponse | Exception]:
        """Put the inputs of all requests that are alike through the model in one call; a stream is made alone."""
        if any(_STREAM in request.body for request in requests):
            return Handler.respond_all(self, requests)
        return super().respond_all(requests)

    def decode(self, request: HandlerRequest) -> tuple[str, Any]:
        accept = media_types.choose(request.accept, media_types.ARRAYS, self.settings.default_accept)
        with phase("decode"):
            return accept, calls.decode(request)

    def features(self, inputs: Any) -> Features:
        items, _ = call_inputs.divided(inputs.inputs, self.model.task)
        parameters.check(inputs.parameters, self._known)
        return Features(items, inputs)

    def variant(self, request: HandlerRequest, inputs: Any) -> Hashable:
        return tuple(sorted(inputs.parameters))

    def batch_key(self, features: Features) -> Hashable:
        """Return the parameters; None where the outputs depend on what is beside them, or on random numbers."""
        given = features.call.parameters
        return outputs.parameters_key(given) if self.model.is_joinable(given) else None

    def join(self, parts: Sequence[Features]) -> Features:
        return Features([item for part in parts for item in part.items], parts[0].call)

    def forward(self, features: Features, variant: Hashable) -> list[Any]:
        return self.model.outputs(features.items, features.call.parameters)

    def divide(self, output: list[Any], counts: Sequence[int]) -> list[Any]:
        rest = iter(output)
        return [list(islice(rest, count)) for count in counts]

    def interpret(self, output: list[Any], inputs: Any) -> Any:
        _, single = call_inputs.divided(inputs.inputs, self.model.task)
        return self.model.in_form_of_call(output, inputs.inputs, inputs.parameters, single=single)

    def encode(self, prediction: Any, inputs: Any, accept: str) -> HandlerResponse:
        with phase("encode"):
            return HandlerResponse(outputs.encode(prediction, accept), accept)

    def _streamed(self, call: PipelineCall) -> HandlerResponse:
        with phase("decode"):
            features = self.features(call)
            _, single = call_inputs.divided(call.inputs, self.model.task)
            if not (single and self.model.writes_text):
                raise BadBodyError('"stream" is for one input of a model that writes text')
        from polyhost.handlers.huggingface import streams

        return HandlerResponse(self.model.stream(features.items[0], call.parameters), streams.CONTENT_TYPE)
