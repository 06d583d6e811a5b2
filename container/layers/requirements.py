"""What a requirement file may say: names, extras, versions, markers and hashes, and nothing else.

A file comes from a stranger, and the installer runs beside other models' files. Options, paths and URLs could have it
read files, ask other servers, or run code; so uv never sees the archive's file, only what is made of it here.
"""

import re
from collections.abc import Iterator, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from polyhost.container.layers.errors import BadRequirementsError
from polyhost.container.layers.needs import MAX_FILE, Needs

MAX_REQUIREMENTS = 1_000
_SHOWN = 100  # characters of a line, in an error
_COMMENT = re.compile(r"(^|\s)#.*")
_HASH = re.compile(r"\s--hash[= ]((?:sha256|sha384|sha512):[0-9a-fA-F]+)(?=\s|$)")
_OPTION = re.compile(r"(?:^|\s)(-{1,2}[A-Za-z][\w-]*)")
_PATH = re.compile(r"(\.{0,2}/|[A-Za-z][\w+.-]*://|file:|.*\.(whl|zip|tar\.gz)$)", re.IGNORECASE)

# What stands behind the name of an option, and why it is refused.
_REMEDIES = {
    ("-r", "--requirement", "-c", "--constraint"): "write its requirements into this file",
    ("-e", "--editable"): "put the package's folder under code/, or its wheel into code/wheels/",
    ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host"): (
        "where packages come from is a setting of the container's: UV_DEFAULT_INDEX, or PIP_INDEX_URL"
    ),
    ("--no-binary", "--only-binary", "--prefer-binary", "--config-settings", "--global-option"): (
        "packages are installed from wheels alone"
    ),
    ("--pre",): "name the version of the pre-release instead, as in name==2.0rc1",
}


def parse(needs: Needs) -> list[str]:
    """Return the requirements, each in one way of writing, sorted, without duplicates. Raises BadRequirementsError."""
    found = {line for name, content in needs.files for line in _of_file(name, content)}
    if len(found) > MAX_REQUIREMENTS:
        raise BadRequirementsError(f"{needs.names} asks for {len(found)} packages; {MAX_REQUIREMENTS} at most")
    return sorted(found)


def _of_file(name: str, content: bytes) -> Iterator[str]:
    if len(content) > MAX_FILE:
        raise BadRequirementsError(f"{name} has more than {MAX_FILE} bytes; leave out what no model needs")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequirementsError(f"{name} is not UTF-8; save it as that") from None
    for number, line in _logical_lines(text):
        if line := _COMMENT.sub("", line).strip():
            yield _normalised(line, f"{name}, line {number}")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number; one that ends with a backslash goes on in the next."""
    first, parts = 1, list[str]()
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if not parts:
            first = number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        yield first, " ".join([*parts, line])
        parts = []
    if parts:
        yield first, " ".join(parts)


def _normalised(line: str, where: str) -> str:
    hashes = sorted({found.lower() for found in _HASH.findall(line)})
    given = _HASH.sub("", line).strip()
    if option := _OPTION.search(given):
        raise BadRequirementsError(f"{where}: {option[1]} is not allowed in an archive; {_remedy(option[1])}")
    if "$" in given:  # uv would put a variable of its environment there
        raise BadRequirementsError(f"{where}: {_cut(given)}: variables are not allowed in an archive")
    if _PATH.match(given):
        raise BadRequirementsError(f"{where}: {_cut(given)}: {_NO_PATHS}")
    try:
        requirement = Requirement(given)
    except (InvalidRequirement, RecursionError) as error:  # markers nest
        reason = str(error).split("\n")[0]
        raise BadRequirementsError(f"{where}: {_cut(given)}: {reason}; write NAME==VERSION") from None
    if requirement.url:
        raise BadRequirementsError(f"{where}: {_cut(given)}: {_NO_PATHS}")
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement) + "".join(f" --hash={item}" for item in hashes)


_NO_PATHS = "paths and URLs are not allowed in an archive; put the wheel into code/wheels/ and write NAME==VERSION"


def _remedy(option: str) -> str:
    known: Sequence[str] = [remedy for options, remedy in _REMEDIES.items() if option in options]
    return known[0] if known else "write NAME==VERSION, and --hash=sha256:... if you like"


def _cut(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
