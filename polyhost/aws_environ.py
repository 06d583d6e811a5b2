"""The environment variables that direct AWS's clients to an emulator."""

from pathlib import Path

# Where SageMaker's Python SDK asks AWS itself: for the account, which the default bucket's name has, and for telemetry.
_SDK_DEFAULTS = Path(__file__).with_name("sagemaker_sdk.yaml")


def aws_environ(url: str, region: str) -> dict[str, str]:
    """Return the variables that make all of AWS's clients talk to the emulator at `url`; it accepts any credentials.

    SageMaker's Python SDK merges its user's own defaults into those of SAGEMAKER_ADMIN_CONFIG_OVERRIDE.
    """
    sdk = {"SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(_SDK_DEFAULTS), "SAGEMAKER_VALIDATE_ROLE": "false"}
    return container_environ(url, region) | sdk


def container_environ(url: str, region: str) -> dict[str, str]:
    """Return those of the variables that the clients in a container need.

    Most clients read AWS_DEFAULT_REGION; those for JavaScript, Java and Go read AWS_REGION.
    """
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "polyhost",
        "AWS_SECRET_ACCESS_KEY": "polyhost",
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
    }
