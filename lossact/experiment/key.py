"""The store's key: a digest of all that can change an outcome."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lossact.checks import check_choice, check_count
from lossact.experiment.condition import Trainable
from lossact.fingerprint import described

DEVICES = ("cpu", "cuda", "mps")
PRECISIONS = ("32-true", "64-true", "bf16-mixed")
COMPUTING_ROOMS = ("functional", "data", "models", "replicas", "training")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How replicas are computed, apart from what they are.

    Attributes:
        device: "cpu", "cuda", …: the kind, not the index.
        precision: "32-true", "64-true" or "bf16-mixed", as the Trainer names them.
        compiled: whether the step goes through torch.compile.
        threads: CPU threads of one operation.
    """

    device: str = "cpu"
    precision: str = "32-true"
    compiled: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        check_choice("device", self.device, DEVICES)
        check_choice("precision", self.precision, PRECISIONS)
        check_count("threads", self.threads)


@cache
def source_digest() -> str:
    """Digest of lossact's own computing rooms, and of the files that put them to work."""
    root = Path(__file__).parent.parent
    files = sorted(file for room in COMPUTING_ROOMS for file in (root / room).rglob("*.py"))
    digest = hashlib.sha256()
    for file in [
        *files,
        *(root / "experiment" / name for name in ("runner.py", "stacking.py", "one_by_one.py", "foreign.py")),
    ]:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def key_content(condition: Trainable, seed: int, setting: Setting) -> dict[str, Any]:
    """What the key of a condition's trials digests, ready for JSON."""
    return _content({"condition": condition.content(), "block": condition.block}, seed, setting)


def numbers_content(measure: Callable[..., Any], seed: int, setting: Setting) -> dict[str, Any]:
    """What the key of a function's numbers digests, ready for JSON.

    Raises:
        InputError: what the function holds cannot be told.
    """
    return _content({"measure": described(measure, "measure")}, seed, setting)


def machine_content() -> dict[str, Any]:
    """What the key holds of the process that computes."""
    import torch

    return {
        "default dtype": str(torch.get_default_dtype()),  # in which modules draw their weights
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": {package: version(package) for package in ("torch", "numpy", "lightning")},
        "source": source_digest(),
    }


def _content(what: dict[str, Any], seed: int, setting: Setting) -> dict[str, Any]:
    content = what | {"seed": seed, "setting": asdict(setting)} | machine_content()
    # numpy's numbers become Python's, by way of their item().
    ready: dict[str, Any] = json.loads(json.dumps(content, default=lambda number: number.item(), allow_nan=False))
    return ready


def trial_key(condition: Trainable, seed: int, setting: Setting) -> str:
    """Hex digest under which the trials of a condition are stored."""
    return digest(key_content(condition, seed, setting))


def digest(content: dict[str, Any]) -> str:
    """The key of that content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
