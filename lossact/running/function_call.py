"""Call a user's training function for one replica, and read what it returns."""

import dis
import hashlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lossact.checks import check_digits, shortened
from lossact.conditions.function import FunctionCondition
from lossact.conditions.value_measures import STEPS
from lossact.errors import InputError
from lossact.replicas.random_streams import rng_state
from lossact.running.outcome import ReplicaOutcome
from lossact.running.run_digest import MANY_VALUES, NO_EVIDENCE, is_informative, run_digest

READS_EVERYTHING = {"locals", "vars", "eval", "exec"}  # calls that see a parameter without naming it


def call_function(condition: FunctionCondition, seed: int) -> ReplicaOutcome:
    """Call the training function of a condition.

    Args:
        condition: what to train.
        seed: the replica's, in [0, 2^32); the generators of the process are seeded with it already.

    Returns:
        the outcome of the replica.

    Raises:
        InputError: the function returned neither updates nor a curve that fits the condition.
    """
    before = _generator_digests()
    returned = condition.train(seed, **condition.config)
    drawn = {name: digest for name, digest in _generator_digests().items() if digest != before.get(name)}
    values: dict[str, float] = {}
    counts_steps = True
    if condition.measures:
        counts_steps = isinstance(returned, Mapping) and STEPS in returned
        returned, values = _read_values(condition, returned)
    steps, diverged, curve = _read(condition, returned)
    if values:
        diverged = diverged or not all(map(np.isfinite, values.values()))
        digest = _digest_of_draws(drawn) if drawn else run_digest(steps, curve, sorted(values.items()))
        return ReplicaOutcome(steps, diverged, digest, values, counts_steps)
    if is_informative(curve):
        return ReplicaOutcome(steps, diverged, run_digest(curve, is_unique=is_informative(curve, MANY_VALUES)))
    if reads_seed(condition.train) and steps is None:
        # The function may have used its seed with a generator of its own, and runs that never arrive look alike.
        return ReplicaOutcome(steps, diverged, NO_EVIDENCE)
    digest = _digest_of_draws(drawn) if drawn else run_digest(steps, diverged, curve)
    return ReplicaOutcome(steps, diverged, digest)


def _digest_of_draws(drawn: Mapping[str, str]) -> int:
    """Digest the states in which a run left the generators of the process; Trials compare the outcome besides."""
    return run_digest(sorted(drawn.items()), is_unique=True)


def _read_values(condition: FunctionCondition, returned: Any) -> tuple[Any, dict[str, float]]:
    """Split a dict of numbers into the updates to the target and the measured values.

    Raises:
        InputError: it is no dict of the condition's measures.
    """
    wanted = ", ".join(repr(name) for name in condition.measures)
    if not isinstance(returned, Mapping):
        raise InputError(f"{condition}: train returned {shortened(returned)}; return a dict with {wanted}")
    unknown = [name for name in returned if name not in {*condition.measures, STEPS}]
    missing = [name for name in condition.measures if name not in returned]
    if missing or unknown:
        fault = f"lacks {missing[0]!r}" if missing else f"has {unknown[0]!r}, which is no measure"
        raise InputError(f"{condition}: the dict that train returned {fault}; return {wanted}")
    values = {}
    for name in condition.measures:
        number = np.asarray(_as_float(_on_cpu(returned[name])))
        if number.shape != () or number.dtype.kind not in "buif" or np.ma.is_masked(returned[name]):
            raise InputError(
                f"{condition}: train returned {shortened(returned[name])} as {name!r}; return one number, such as the "
                "last value of a curve"
            )
        check_digits(f"{condition}: train returned {name!r}", returned[name])
        values[name] = float(number)
    return returned.get(STEPS), values


def reads_seed(function: Callable[..., Any]) -> bool:
    """Return whether a function may read its first parameter; True where its code does not show that it does not.

    Args:
        function: called as function(seed, ...).
    """
    if isinstance(function, partial) and not function.args:
        return reads_seed(function.func)
    position = 0
    if inspect.ismethod(function):
        function, position = function.__func__, 1
    code = getattr(function, "__code__", None)
    if code is None or hasattr(function, "__wrapped__") or code.co_argcount <= position:
        return True
    name = code.co_varnames[position]
    if name in code.co_cellvars or READS_EVERYTHING & set(code.co_names):
        return True
    return any(
        instruction.opname.startswith("LOAD")
        and (instruction.argval == name or (isinstance(instruction.argval, tuple) and name in instruction.argval))
        for instruction in dis.get_instructions(code)
    )


def _generator_digests() -> dict[str, str]:
    """Digest the state of each random number generator that belongs to the process."""
    states = rng_state()
    contents = {
        "python": np.array(states.python[1]).tobytes() + repr(states.python[2]).encode(),
        "numpy": states.numpy[1].tobytes() + repr(states.numpy[2:]).encode(),
        "torch": states.torch.numpy().tobytes(),
    }
    contents |= {f"cuda {gpu}": state.numpy().tobytes() for gpu, state in enumerate(states.cuda)}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _read(condition: FunctionCondition, returned: Any) -> tuple[int | None, bool, NDArray[Any]]:
    """Read steps, divergence and the curve, which is empty where the function returned updates.

    Raises:
        InputError: the function returned neither.
    """
    empty = np.zeros(0)
    takes_curve = (condition.at_least is not None or condition.at_most is not None) and not condition.measures
    of_curve = "the condition has a threshold, so train returns the metric's curve: a list of numbers"
    if returned is None and takes_curve:
        raise InputError(f"{condition}: train returned None, and {of_curve}; is its return missing?")
    if returned is None:
        return None, False, empty
    if isinstance(returned, Mapping):
        names = ", ".join(repr(name) for name in returned)
        raise InputError(f"{condition}: train returned a dict; name its numbers by measures=[{names}]")
    described = f"{condition}: train returned {shortened(returned)}" + (" as 'steps'" if condition.measures else "")
    way_out = "" if condition.measures else "; a value after the last update goes into a dict, with measures= naming it"
    values = [_on_cpu(value) for value in returned] if isinstance(returned, (list, tuple)) else _on_cpu(returned)
    try:
        curve = np.asarray(_as_float(values))
    except (TypeError, ValueError) as error:
        raise InputError(f"{described}; return updates, or a curve of numbers ({error})") from None
    if curve.dtype.kind not in "buif" or curve.ndim > 1 or np.ma.is_masked(returned):
        raise InputError(f"{described}; return updates (an integer or None), or a curve of numbers")
    if curve.ndim == 0 and takes_curve:
        raise InputError(f"{described}, and {of_curve}{way_out}")
    if curve.ndim == 0:
        if curve.dtype.kind not in "ui" or not 0 <= int(curve) <= condition.budget:
            raise InputError(
                f"{described}; updates must be an integer from 0 to the budget, {condition.budget}, or None{way_out}"
            )
        return int(curve), False, empty
    if condition.at_least is None and condition.at_most is None:
        raise InputError(f"{condition}: train returned a curve; give the condition at_least= or at_most=")
    if not 1 <= len(curve) <= condition.budget + 1:
        raise InputError(
            f"{condition}: train returned a curve of {len(curve)} values; 1 to budget + 1 = {condition.budget + 1} "
            "are needed, the first before any update"
        )
    met = [bool(condition.met_by(value)) for value in values] if isinstance(values, list) else condition.met_by(values)
    first = np.flatnonzero(met)
    if len(first):
        return int(first[0]), False, curve
    return None, not np.isfinite(curve[-1]), curve


def _on_cpu(value: Any) -> Any:
    """Return a tensor without its gradient, on the CPU; anything else as it is."""
    return value.detach().cpu() if isinstance(value, torch.Tensor) else value


def _as_float(values: Any) -> Any:
    """Return tensors of a type that numpy lacks in single precision, which holds them exactly."""
    if isinstance(values, list):
        return [_as_float(value) for value in values]
    return values.float() if isinstance(values, torch.Tensor) and values.dtype == torch.bfloat16 else values
