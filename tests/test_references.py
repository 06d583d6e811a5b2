"""What the documentation refers to exists: files and headings behind links, tests and other paths in code style."""

import re
import unicodedata
from functools import cache
from pathlib import Path

import pytest

from tests.support.container import ROOT

FOLDERS = ("deploy", "docs", "examples")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?:benchmarks|container|deploy|docs|examples|handlers|locks|polyhost|scripts|tests)/[\w./-]*\w")
HOSTILE = re.compile(r"(?:channels/)?test_\w+")  # in SECURITY.md: a module of tests/hostile


def _prose(document: Path) -> str:
    """Return the text without blocks of code."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)


@cache
def _anchors(document: Path) -> set[str]:
    """Return what GitHub makes of the headings: lower case, no punctuation, hyphens for spaces."""
    titles = re.findall(r"^#+ (.*)$", _prose(document), re.MULTILINE)
    return {_anchor(LINK.sub(r"\1", title).strip()) for title in titles}


def _anchor(title: str) -> str:
    kept = (sign for sign in title.lower() if sign in " -_" or unicodedata.category(sign)[0] in "LN")
    return "".join(kept).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    missing = []
    for _, target in LINK.findall(_prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        if not path.exists() or (anchor and anchor not in _anchors(path)):
            missing.append(target)
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_exist(document: Path) -> None:
    named = [code for code in CODE.findall(_prose(document)) if PATH.fullmatch(code)]
    assert [code for code in named if not (ROOT / code).exists() and not (ROOT / f"{code}.py").exists()] == []


def test_security_names_tests_that_exist() -> None:
    named = [code for code in CODE.findall((ROOT / "SECURITY.md").read_text()) if HOSTILE.fullmatch(code)]
    assert len(named) > 10
    assert [name for name in named if not (ROOT / "tests" / "hostile" / f"{name}.py").is_file()] == []
