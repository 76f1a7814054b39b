"""What every verdict of a report holds for."""

import shlex
from dataclasses import dataclass
from importlib.metadata import version

from lossact.claims.result import ClaimResult


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A run that decided claims.

    Attributes:
        seed, alpha, delta, device, max_replicas, data: as the options of the run.
        flags: options that give a run of the same setting, for a command line.
        undecided: claims that ended in an error, and with which.
    """

    seed: int = 0
    alpha: float = 0.025
    delta: float = 0.1
    device: str = "cpu"
    max_replicas: int = 2048
    data: str | None = None
    flags: tuple[str, ...] = ()
    undecided: tuple[tuple[str, str], ...] = ()

    @property
    def versions(self) -> dict[str, str]:
        """Of the packages that outcomes depend on."""
        return {name: version(name) for name in ("lossact", "torch", "numpy", "lightning")}

    @property
    def setting(self) -> str:
        """The options in words."""
        data = f", data from {self.data}" if self.data else ""
        return f"seed {self.seed}, up to {self.max_replicas} replicas, {self.device}{data}"

    def rerun_command(self, result: ClaimResult) -> str:
        """The command that decides a claim anew at the same level, from the root of its project."""
        return shlex.join(["pytest", result.id, *self.flags])
