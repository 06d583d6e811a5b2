"""Lists of words in the benchmarks' arguments."""

import argparse
from collections.abc import Sequence


def chosen(parser: argparse.ArgumentParser, text: str, known: Sequence[str]) -> list[str]:
    """Return the words of an argument. Ends the command with an error for an unknown one."""
    words = text.replace(",", " ").split()
    for word in words:
        if word not in known:
            parser.error(f"unknown word {word!r}; give any of {','.join(known)}")
    return words
