"""What every verdict of a report holds for."""

import shlex
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that decided claims.

    Attributes:
        seed, alpha, delta, device: as the options of the run.
        flags: options that give a run of the same setting, for a command line.
    """

    seed: int = 0
    alpha: float = 0.025
    delta: float = 0.1
    device: str = "cpu"
    flags: tuple[str, ...] = ()

    @property
    def versions(self) -> dict[str, str]:
        """Of the packages that outcomes depend on."""
        return {name: version(name) for name in ("lossact", "torch", "numpy", "lightning")}

    def again(self, claim: str) -> str:
        """The command that decides a claim anew, from the root of its project; the claim is pytest's node id."""
        return shlex.join(["pytest", claim, *self.flags])
