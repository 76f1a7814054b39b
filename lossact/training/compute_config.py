"""How replicas are computed: device, precision, compiled or not, and threads."""

from dataclasses import dataclass
from typing import Literal

from lossact.checks import check_choice, check_count, checked_arguments
from lossact.errors import InputError

DEVICES = ("cpu", "cuda", "mps")
PRECISIONS = ("32-true", "64-true", "bf16-mixed")

# Updates in a budget from which compiling comes back: 20 s are some 5,000 updates of a small network's 64 replicas.
LONG_BUDGET = 20_000

Compiled = bool | Literal["auto"]


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """How replicas are computed, apart from what they are.

    Args:
        device: "cpu", "cuda", …: the kind, not the index.
        precision: "32-true", "64-true" or "bf16-mixed", as the Trainer names them.
        compiled: "auto" has built-in networks train in a program in C++ on a CPU, and others go through torch.compile
            where the budget is 20,000 updates or more; True has all of them compiled, False none.
        threads: CPU threads of one of torch's operations. Programs in C++, compiled code and slices of replicas take
            one thread each, side by side on as many cores as torch may use.

    Raises:
        InputError: a value breaks its rule.
    """

    device: str = "cpu"
    precision: str = "32-true"
    compiled: Compiled = False
    threads: int = 1

    def __post_init__(self) -> None:
        check_choice("device", self.device, DEVICES)
        check_choice("precision", self.precision, PRECISIONS)
        if not isinstance(self.compiled, bool) and self.compiled != "auto":
            raise InputError(f"compiled={self.compiled!r} must be True, False or 'auto'")
        check_count("threads", self.threads)

    @property
    def may_compile(self) -> bool:
        """Whether a compiler may make what trains some conditions."""
        return self.compiled is not False

    def compiles(self, budget: int) -> bool:
        """Return whether training of so many updates goes through torch.compile.

        Args:
            budget: the most updates.
        """
        return self.compiled is True or (self.compiled == "auto" and budget >= LONG_BUDGET)
