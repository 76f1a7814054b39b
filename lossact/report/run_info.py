"""The settings under which a report's claims were decided."""

import shlex
from dataclasses import dataclass
from typing import Any

from lossact.claims.result import ClaimResult
from lossact.claims.undecided import UndecidedClaim
from lossact.storage.machine import installed_version


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A run that decided claims.

    Attributes:
        seed, alpha, delta, device, max_replicas, data: as the options of the run.
        flags: options that give a run of the same setting, for a command line.
        undecided: claims that ended in an error.
        plans: what claims would cost, where none was decided; each with the claim's id, ready for JSON.
    """

    seed: int = 0
    alpha: float = 0.025
    delta: float = 0.1
    device: str = "cpu"
    max_replicas: int = 2048
    data: str | None = None
    flags: tuple[str, ...] = ()
    undecided: tuple[UndecidedClaim, ...] = ()
    plans: tuple[dict[str, Any], ...] = ()

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that outcomes depend on."""
        return {name: installed_version(name) for name in ("lossact", "torch", "numpy", "lightning")}

    @property
    def setting(self) -> str:
        """Return the options in words."""
        data = f", data from {self.data}" if self.data else ""
        return f"seed {self.seed}, up to {self.max_replicas} replicas, {self.device}{data}"

    def rerun_command(self, result: ClaimResult) -> str:
        """Return the command that decides a claim again at the same level, from its project's root."""
        return shlex.join(["pytest", result.id, *self.flags])
