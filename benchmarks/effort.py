"""How much is measured: a full run takes under ten minutes on two cores, a quick one is for trying things out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """`stock_copies` and `copies` are how many models density loads; stock is slow and large, so fewer do."""

    samples: int
    stock_copies: int
    copies: int
    seconds: float
    starts: int
    thousand: int

    def density_copies(self, stack: str) -> int:
        return self.stock_copies if stack == "stock" else self.copies


FULL = Effort(samples=7, stock_copies=10, copies=60, seconds=5.0, starts=3, thousand=1000)
QUICK = Effort(samples=3, stock_copies=3, copies=10, seconds=2.0, starts=1, thousand=50)
