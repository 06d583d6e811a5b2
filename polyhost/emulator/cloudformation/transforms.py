"""Transforms of templates: AWS::Serverless by aws-sam-translator, the program that CloudFormation itself runs."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from polyhost.emulator.errors import ValidationError

SERVERLESS = "AWS::Serverless-2016-10-31"

logger = logging.getLogger(__name__)


def declared_transforms(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a template's transforms. Raises ValidationError for one that the emulator does not have."""
    declared = content.get("Transform") or []
    names = tuple(str(item) for item in (declared if isinstance(declared, list) else [declared]))
    for name in names:
        if name != SERVERLESS:
            raise ValidationError(f"No transform named {name} found. The emulator has {SERVERLESS} only.")
    return names


def transformed(content: dict[str, Any], values: Mapping[str, str], region: str) -> dict[str, Any]:
    """Return a template of AWS::Serverless with the resources that it stands for. Raises ValidationError.

    `values` are those of parameters, as far as a request gives them: names of resources may depend on them.
    """
    # Imported here: it takes half a second, and most templates need no transform.
    import boto3
    from samtranslator.internal.managed_policies import get_bundled_managed_policy_map
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    session = boto3.session.Session(region_name=region)
    translator = Translator(get_bundled_managed_policy_map("aws"), Parser(), boto_session=session)
    try:
        result: dict[str, Any] = translator.translate(deepcopy(content), dict(values))
    except InvalidDocumentException as error:
        causes = " ".join(cause.message for cause in error.causes)
        raise ValidationError(f"Transform {SERVERLESS} failed with: {error.message} {causes}".strip()) from None
    except Exception as error:  # the translator takes some documents for what they are not
        logger.warning("the transform of a template failed", exc_info=True)
        raise ValidationError(f"Transform {SERVERLESS} failed with: {error!r}") from None
    return {name: section for name, section in result.items() if name != "Transform"}
