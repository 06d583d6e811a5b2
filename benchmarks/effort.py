"""How much is measured: a quick run is for trying things out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """The size of a run.

    `stock_copies` and `copies` are how many models `density` loads; stock is slow and large, so it gets fewer.
    `thousand` and `native_thousand` are how many models are loaded at once in the stage of that name, `starts` how
    many servers a repeated stage starts.
    """

    samples: int
    stock_copies: int
    copies: int
    seconds: float
    starts: int
    thousand: int
    native_thousand: int
    idle_connections: int = 1000

    def density_copies(self, stack: str) -> int:
        return self.stock_copies if stack == "stock" else self.copies

    def thousand_models(self, stack: str) -> int:
        return self.native_thousand if stack == "native" else self.thousand


FULL = Effort(samples=7, stock_copies=10, copies=60, seconds=5.0, starts=3, thousand=1000, native_thousand=2000)
QUICK = Effort(samples=3, stock_copies=3, copies=10, seconds=2.0, starts=1, thousand=50, native_thousand=100)
