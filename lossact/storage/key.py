"""The store's key: a digest of all that can change an outcome."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lossact.conditions.base import BaseCondition
from lossact.fingerprint import fingerprint
from lossact.training.compute_config import ComputeConfig

COMPUTING_ROOMS = ("functional", "data", "models", "replicas", "training", "conditions", "running")


@cache
def source_digest(root: Path = Path(__file__).parent.parent) -> str:
    """Digest the source of lossact's computing rooms.

    Args:
        root: the folder that holds the rooms.
    """
    digest = hashlib.sha256()
    for file in sorted(file for room in COMPUTING_ROOMS for file in (root / room).rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def key_content(condition: BaseCondition, seed: int, compute_config: ComputeConfig) -> dict[str, Any]:
    """What the key of a condition's trials digests, ready for JSON."""
    return _content({"condition": condition.content(), "block": condition.block}, seed, compute_config)


def numbers_content(measure: Callable[..., Any], seed: int, compute_config: ComputeConfig) -> dict[str, Any]:
    """What the key of a function's numbers digests, ready for JSON.

    Raises:
        InputError: what the function holds cannot be told.
    """
    return _content({"measure": fingerprint(measure, "measure")}, seed, compute_config)


def machine_content() -> dict[str, Any]:
    """What the key holds of the process that computes."""
    import torch

    return {
        "default dtype": str(torch.get_default_dtype()),  # in which modules draw their weights
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": {package: version(package) for package in ("torch", "numpy", "lightning")},
        "source": source_digest(),
    }


def _content(what: dict[str, Any], seed: int, compute_config: ComputeConfig) -> dict[str, Any]:
    content = what | {"seed": seed, "setting": asdict(compute_config)} | machine_content()
    # numpy's numbers become Python's, by way of their item().
    ready: dict[str, Any] = json.loads(json.dumps(content, default=lambda number: number.item(), allow_nan=False))
    return ready


def trial_key(condition: BaseCondition, seed: int, compute_config: ComputeConfig) -> str:
    """Hex digest under which the trials of a condition are stored."""
    return digest(key_content(condition, seed, compute_config))


def digest(content: dict[str, Any]) -> str:
    """The key of that content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
