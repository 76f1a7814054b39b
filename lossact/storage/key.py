"""The store's key: a digest of all that can change an outcome."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from lossact.conditions.base import BaseCondition
from lossact.conditions.condition import Condition
from lossact.fingerprint import fingerprint
from lossact.storage.machine import machine_content
from lossact.training.compute_config import ComputeConfig

# Raised where keys of an older form could stand for something else: form 1 held no values of wrapped functions.
KEY_FORM = 2


def key_content(condition: BaseCondition, seed: int, compute_config: ComputeConfig) -> dict[str, Any]:
    """Return what the key of a condition's trials digests, ready for JSON.

    Args:
        condition: what is trained.
        seed: the experiment's.
        compute_config: how replicas are computed.

    Returns:
        plain values.
    """
    compute_config = replace(compute_config, compiled=_is_compiled(condition, compute_config))
    return _content({"condition": condition.content(), "block": condition.block}, seed, compute_config)


def numbers_content(measure: Callable[..., Any], seed: int, compute_config: ComputeConfig) -> dict[str, Any]:
    """Return what the key of a function's numbers digests, ready for JSON.

    Args:
        measure: the function, with all that it holds.
        seed: the experiment's.
        compute_config: how replicas are computed.

    Returns:
        plain values.

    Raises:
        InputError: the function holds a value whose content cannot be read.
    """
    return _content({"measure": fingerprint(measure, "measure")}, seed, replace(compute_config, compiled=False))


def trial_key(condition: BaseCondition, seed: int, compute_config: ComputeConfig) -> str:
    """Return the hex digest under which the trials of a condition are stored.

    Args:
        condition: what is trained.
        seed: the experiment's.
        compute_config: how replicas are computed.

    Returns:
        64 hexadecimal digits.
    """
    return digest(key_content(condition, seed, compute_config))


def digest(content: dict[str, Any]) -> str:
    """Return the key of such content.

    Args:
        content: ready for JSON.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_compiled(condition: BaseCondition, compute_config: ComputeConfig) -> bool:
    """Return whether a compiler may make what trains a condition."""
    if not isinstance(condition, Condition):
        return False
    if condition.uses_closed_form_gradients and compute_config.device == "cpu":
        return compute_config.may_compile
    return compute_config.compiles(condition.budget)


def _content(subject: dict[str, Any], seed: int, compute_config: ComputeConfig) -> dict[str, Any]:
    setting = {"seed": seed, "setting": asdict(compute_config), "form": KEY_FORM}
    content = subject | setting | machine_content(compute_config.device, compiles=compute_config.may_compile)
    # numpy's numbers become Python's, by way of their item().
    ready: dict[str, Any] = json.loads(json.dumps(content, default=lambda number: number.item(), allow_nan=False))
    return ready
