"""Which packages a Python source imports, found in its text without parsing it.

The fork server asks this of each model, and serves all of them with one thread: `ast` takes seconds and gigabytes for
long literals, and its parser can be made to take all memory. This takes time proportional to the bytes read, of which
there are MAX_SOURCE at most: every pattern is possessive (re, "x*+"), so none goes back and tries again.

Standard library only: the fork server imports this.
"""

import re
from pathlib import Path

from polyhost.handlers.model_files import read_start

MAX_SOURCE = 1 << 16  # bytes; imports stand at the beginning of a source

_MARK = b"\xef\xbb\xbf"  # a byte order mark, which Python skips
# What hides a statement or splits it: comments, strings (those that do not end too), joined lines.
_SKIPPED = re.compile(
    rb"""
      \# [^\n]*+
    | \"\"\" (?: [^"\\]++ | \\.?+ | "(?!"") )*+ (?: \"\"\" )?+
    | '''    (?: [^'\\]++ | \\.?+ | '(?!'') )*+ (?: '''    )?+
    | "     (?: [^"\\\n]++ | \\.?+ )*+ "?+
    | '     (?: [^'\\\n]++ | \\.?+ )*+ '?+
    | \\ \n
    """,
    re.VERBOSE | re.DOTALL,
)
# At a line's beginning, after another statement, or after the colon of "if ...:".
_IMPORT = re.compile(
    rb"""
    (?: ^ | [;:] ) [ \t\f]*+ (?:
        import [ \t\f]++ ( [^;]++ )
      | from   [ \t\f]++ ( [A-Za-z_] [\w.]*+ ) [ \t\f]++ import \b
    )
    """,
    re.VERBOSE,
)


def of(source: Path) -> set[str]:
    """Return the top-level packages that a source file imports, at its top or inside functions. Raises OSError."""
    return in_text(read_start(source, MAX_SOURCE))


def in_text(source: bytes) -> set[str]:
    """Return the top-level packages that a source imports; of one that is not Python, any."""
    lines = source.removeprefix(_MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found: set[str] = set()
    for line in _SKIPPED.sub(b" ", lines).split(b"\n"):
        if b"import" in line:
            for match in _IMPORT.finditer(line):
                names = match[1].split(b",") if match[1] else [match[2]]
                found.update(map(_top_level, names))
    return found - {""}


def _top_level(name: bytes) -> str:
    """Return "a" of "a.b as c"."""
    return name.strip().partition(b" ")[0].partition(b".")[0].strip().decode(errors="replace")
