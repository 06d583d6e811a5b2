"""Where packages come from, as uv's and pip's own variables say, or CodeArtifact.

These variables may hold passwords, and no model gets them. The supervisor keeps them in a file that has no path, which
the fork server passes on to each builder.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from polyhost.container.layers.errors import InstallationError

CODE_ARTIFACT = "CA_REPOSITORY_ARN"  # as SageMaker's toolkit has it
# What no model gets: variables whose addresses have passwords.
WITHHELD = (
    "UV_INDEX",
    "UV_INDEX_*",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
)
# uv does not read pip's variables: what stands for each, unless uv's is set.
_OF_PIP = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_DEFAULT_TIMEOUT": "UV_HTTP_TIMEOUT",
}
# An older name of uv's own for the same.
_SAME = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
_UV = re.compile(
    "UV_(INDEX|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|INSECURE_HOST|HTTP_TIMEOUT|HTTP_RETRIES|"
    "NATIVE_TLS|SYSTEM_CERTS|EXCLUDE_NEWER|PRERELEASE|KEYRING_PROVIDER|CONCURRENT_DOWNLOADS|OFFLINE).*"
)
_OTHERS = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "NETRC")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_ARN = re.compile(r"arn:([^:]+):codeartifact:([^:]+):([^:]+):repository/([^/]+)/(.+)")


def variables_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return uv's variables as this environment has them, an empty one counting as absent."""
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    found = {name: value for name, value in given.items() if _UV.fullmatch(name) or name in _OTHERS}
    found |= {name: value for name, value in given.items() if name.upper() in _PROXIES}
    for pips, uvs in _OF_PIP.items():
        if pips in given and uvs not in found and _SAME.get(uvs) not in found:
            # pip separates by spaces everywhere, uv folders of wheels by commas.
            found[uvs] = ",".join(given[pips].split()) if uvs == "UV_FIND_LINKS" else given[pips]
    if "NETRC" not in found and "HOME" in given and (netrc := Path(given["HOME"], ".netrc")).is_file():
        found["NETRC"] = str(netrc)  # uv has another home
    if CODE_ARTIFACT in given:
        found |= {name: value for name, value in given.items() if name == CODE_ARTIFACT or name.startswith("AWS_")}
    return found


def keep(variables: Mapping[str, str]) -> int:
    """Write the variables into a file without a path; return its descriptor."""
    descriptor = os.memfd_create("polyhost-index", os.MFD_CLOEXEC)
    os.write(descriptor, json.dumps(dict(variables)).encode())
    return descriptor


def read(descriptor: int) -> dict[str, str]:
    """Return what `keep` has written."""
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return {str(name): str(value) for name, value in json.loads(content).items()}


def for_uv(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for uv: an address with a token of CodeArtifact's, and none of AWS's credentials.

    Raises InstallationError.
    """
    mine = {name: value for name, value in variables.items() if name != CODE_ARTIFACT and not name.startswith("AWS_")}
    if arn := variables.get(CODE_ARTIFACT):
        mine["UV_DEFAULT_INDEX"] = _code_artifact(arn, variables)
    return mine


def _code_artifact(arn: str, variables: Mapping[str, str]) -> str:
    match = _ARN.fullmatch(arn)
    if not match:
        raise InstallationError(
            f"{CODE_ARTIFACT}={arn!r}: must be arn:aws:codeartifact:REGION:ACCOUNT:repository/DOMAIN/REPOSITORY"
        )
    _, region, owner, domain, repository = match.groups()
    os.environ.update(variables)  # boto3 finds its credentials there
    try:
        import boto3

        client = boto3.client("codeartifact", region_name=region)
        token = client.get_authorization_token(domain=domain, domainOwner=owner)["authorizationToken"]
        endpoint = client.get_repository_endpoint(
            domain=domain, domainOwner=owner, repository=repository, format="pypi"
        )["repositoryEndpoint"]
    except Exception as error:  # boto3's have no common base, and it may be missing
        raise InstallationError(f"{CODE_ARTIFACT}={arn!r}: {type(error).__name__}: {error}") from error
    scheme, _, rest = endpoint.rstrip("/").partition("://")
    return f"{scheme}://aws:{quote(token, safe='')}@{rest}/simple/"
