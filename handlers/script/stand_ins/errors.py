"""In place of `sagemaker_containers.beta.framework.errors`."""


class ClientError(Exception):
    """What a script raises for a failure of its own."""


class UnsupportedFormatError(Exception):
    """There is no decoder or encoder for a media type; polyhost.handlers.errors.phase gives it 415 or 406."""

    def __init__(self, content_type: str) -> None:
        super().__init__(f"media type {content_type!r} is not supported; write an input_fn or output_fn that takes it")
