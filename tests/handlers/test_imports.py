"""The packages that a source imports: as Python's own parser finds them, in bounded time and memory."""

import ast
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.handlers import imports

ROOT = Path(__file__).parents[2]
STANDARD_LIBRARY = Path(ast.__file__).parent


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import a", {"a"}),
        ("import a.b as c, d as e , f", {"a", "d", "f"}),
        ("from a.b import (\n    c,\n    d,\n)", {"a"}),
        ("from a import(c)", {"a"}),
        ("from .a import b\nfrom . import c", set()),
        ("try: import a\nexcept ImportError: import b; import c", {"a", "b", "c"}),
        ("def f():\n\timport a  # import b", {"a"}),
        ("import \\\n    a\nfrom b \\\n  import c", {"a", "b"}),
        ("import a\r\nimport b\rimport c", {"a", "b", "c"}),
        ("\ufeffimport a", {"a"}),
        ("# import a\nx = 'import b'", set()),
        ('"""Text.\nimport a\n"""\nimport b', {"b"}),
        ("r'''\nimport a \\''''''; import b", {"b"}),
        ("x = 'it\\'s'; import a", {"a"}),
        ("x = 'no end\nimport a", {"a"}),
        ('"""no end\nimport a', set()),
        ("important = 1\nx.import_(a)\nfrom_a = 2", set()),
        ("from a\nimport\nimport ", set()),
    ],
)
def test_imports(source: str, found: set[str]) -> None:
    assert imports.in_text(source.encode()) == found


def by_parser(source: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    "folder", [ROOT / "handlers", ROOT / "tests" / "models", *(STANDARD_LIBRARY / name for name in ("json", "asyncio"))]
)
def test_real_sources_are_read_as_the_parser_reads_them(folder: Path) -> None:
    sources = [path for path in folder.rglob("*.py") if path.stat().st_size <= imports.MAX_SOURCE]
    assert sources
    for path in sources:
        assert imports.of(path) == set(by_parser(path.read_bytes())), path


UNITS = [
    "[0]",
    "a[0]",
    "\\a",
    '"""\\',
    "'''",
    "'",
    '"\\\n',
    '"""',
    "import a,",
    "from a ",
    "\n \n",
    ";",
    "\\\n",
    "1,\n",
    "\0",
]


READS = """
import sys
from pathlib import Path
from polyhost.handlers import imports
print(imports.of(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_no_source_takes_much(tmp_path: Path, unit: str) -> None:
    """Each is read in a process of its own with little memory."""
    source = tmp_path / "inference.py"
    source.write_text("import torch\n" + unit * (10_000_000 // len(unit)))
    limit = (256 << 20, 256 << 20)
    command = [sys.executable, "-c", READS, str(source)]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit)
    )
    assert result.returncode == 0
    assert "'torch'" in result.stdout
