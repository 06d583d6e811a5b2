"""Lambda's checks of a function's package, which moto lacks: a zip has handler and runtime, an image has neither."""

from typing import Any

from flask import has_request_context
from flask import request as flask_request
from moto.awslambda.exceptions import InvalidParameterValueException

from polyhost.emulator.functions.images import IMAGES, FunctionImage, FunctionImages

_ZIPS = ("Handler", "Runtime", "Layers")


def check_new_package(members: dict[str, Any]) -> None:
    """Check what CreateFunction gets. Raises InvalidParameterValueException, with AWS's words."""
    code = members.get("Code") or {}
    if members.get("PackageType") == "Image":
        check_no_zips_settings(members)
        if not code.get("ImageUri"):
            raise InvalidParameterValueException("Please provide a source for function code.")
    elif "ImageUri" in code:
        if not (members.get("Handler") and members.get("Runtime")):
            raise InvalidParameterValueException(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            )
        raise InvalidParameterValueException("Please don't provide ImageUri when the PackageType is Zip.")


def check_no_zips_settings(members: dict[str, Any]) -> None:
    """Check the configuration of a function of an image. Raises InvalidParameterValueException."""
    if any(members.get(name) for name in _ZIPS):
        raise InvalidParameterValueException(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
        )


def check_new_code(package_type: str, members: dict[str, Any]) -> None:
    """Check what UpdateFunctionCode gets. Raises InvalidParameterValueException, with AWS's words."""
    if package_type == "Image" and not members.get("ImageUri"):
        raise InvalidParameterValueException("Please provide ImageUri when updating a function with packageType Image.")
    if package_type == "Zip" and "ImageUri" in members:
        raise InvalidParameterValueException(
            "Please don't provide ImageUri when updating a function with packageType Zip."
        )


def require_image(uri: str) -> FunctionImage | None:
    """Return the image, or None if the emulator whose request this thread serves runs no images.

    Raises InvalidParameterValueException if it runs them, and has none of this name.
    """
    images: FunctionImages | None = flask_request.environ.get(IMAGES) if has_request_context() else None
    if images is None:
        return None
    image = images.find(uri)
    if image is None:
        raise InvalidParameterValueException(f"Source image {uri} does not exist. Provide a valid source image.")
    return image
