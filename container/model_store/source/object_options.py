"""Options of object stores: credentials and addresses, from the variables that the clouds' own clients read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# obstore's names of what AWS's own clients read from the environment.
_S3 = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
    "AWS_REGION": "region",
    "AWS_ENDPOINT_URL_S3": "endpoint",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "container_credentials_relative_uri",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "container_credentials_full_uri",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "container_authorization_token_file",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "web_identity_token_file",
    "AWS_ROLE_ARN": "role_arn",
    "AWS_ROLE_SESSION_NAME": "role_session_name",
    "AWS_ENDPOINT_URL_STS": "endpoint_url_sts",
}
# Of these, obstore's names are the same in lower case.
_GCS = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_BASE_URL",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SKIP_SIGNATURE",
)
_AZURE = (
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_IDENTITY_ENDPOINT",
    "AZURE_MSI_ENDPOINT",
    "AZURE_OBJECT_ID",
    "AZURE_SKIP_SIGNATURE",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_TENANT_ID",
)
VARIABLES = ("AWS_", "GOOGLE_", "AZURE_")
"""What names of variables begin with that tell credentials."""


def store_options(scheme: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return arguments of obstore's `from_url` for a store of this scheme."""
    of_scheme: dict[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
        "s3": _s3_options,
        "gs": lambda variables: {"config": _same_names(_GCS, variables)},
        "az": lambda variables: {"config": _same_names(_AZURE, variables)},
    }
    return of_scheme[scheme](variables) if scheme in of_scheme else {}


def _same_names(names: tuple[str, ...], variables: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name in names if (value := variables.get(name))}


def _s3_options(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return what AWS's clients would take from the environment, a profile's credentials included."""
    region = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL")
    found = {**variables, "AWS_REGION": region, "AWS_ENDPOINT_URL_S3": endpoint}
    config = {name: value for variable, name in _S3.items() if (value := found.get(variable))}
    options: dict[str, Any] = {"config": config}
    if "access_key_id" not in config and (session := _session_with_a_profile(variables)) is not None:
        from obstore.auth.boto3 import Boto3CredentialProvider

        options["credential_provider"] = Boto3CredentialProvider(session)
    return options


def _session_with_a_profile(variables: Mapping[str, str]) -> Any:
    """Return a session of boto3 if its files have credentials: obstore reads variables and services only."""
    home = Path(variables.get("HOME") or "/root")
    files = [
        Path(variables.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials"),
        Path(variables.get("AWS_CONFIG_FILE") or home / ".aws" / "config"),
    ]
    if not variables.get("AWS_PROFILE") and not any(file.is_file() for file in files):
        return None
    try:
        import boto3  # the inference toolkit brings it
        import botocore.session
    except ImportError:
        return None
    session = botocore.session.Session(profile=variables.get("AWS_PROFILE"))
    session.set_config_variable("credentials_file", str(files[0]))
    session.set_config_variable("config_file", str(files[1]))
    return boto3.session.Session(botocore_session=session)
