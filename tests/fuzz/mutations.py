"""Changes of valid bytes that parsers get wrong."""

from collections.abc import Sequence
from random import Random

NUMBERS = [b"0", b"-1", b"00000000003", b"2147483648", b"4294967296", b"18446744073709551619", b"1e400", b"0x10", b"+5"]
COMMON = [
    b"\0",
    b"\r\n",
    b"\n",
    b"\r",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"%00",
    b"..",
    b"/",
    b" ",
    b"\t",
    b'"',
    *NUMBERS,
]


def mutated(data: bytes, chance: Random, tokens: Sequence[bytes] = COMMON, most: int = 5) -> bytes:
    """Return the data after one to `most` small changes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, most)):
        _change(changed, chance, tokens)
    return bytes(changed)


def _change(data: bytearray, chance: Random, tokens: Sequence[bytes]) -> None:
    place = chance.randint(0, len(data))
    length = min(chance.choice((1, 1, 2, 4, 16, 100)), len(data) - place)
    match chance.randrange(8):
        case 0 if place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        case 1:
            data[place : place + length] = chance.randbytes(length)
        case 2:
            del data[place : place + length]
        case 3:
            data[place:place] = data[place : place + length]
        case 4 | 5:
            data[place : place + chance.choice((0, length))] = chance.choice(tokens)
        case 6:
            del data[place:]
        case _:
            _replace_number(data, chance)


def _replace_number(data: bytearray, chance: Random) -> None:
    digits = [place for place, byte in enumerate(data[:2000]) if 0x30 <= byte <= 0x39]
    if not digits:
        return
    start = end = chance.choice(digits)
    while end < len(data) and 0x30 <= data[end] <= 0x39:
        end += 1
    data[start:end] = chance.choice(NUMBERS)
