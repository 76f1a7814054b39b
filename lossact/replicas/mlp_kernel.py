"""All updates of a launch in one kernel on a GPU, for MLPs whose images fit into the registers of a warp.

One program trains one replica. Images, weights and velocities stay in registers from its first update to its last, and
nobody waits between updates for another kernel to start. The first launch of its kind is compared with the eager step;
where the two differ, or the kernel cannot be built, replicas go on with the eager step.
"""

import math
import warnings
from dataclasses import dataclass, replace
from importlib.util import find_spec
from subprocess import CalledProcessError
from typing import Any

import torch
from torch import Tensor

from lossact.checks import ran_out_of_memory
from lossact.replicas.engine import (
    NEVER,
    Hyperparameters,
    ReplicaState,
    StoppingCriterion,
    advance,
    make_step,
)
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.network import StackedNetwork
from lossact.replicas.update_rules import SGDRule, UpdateRule

# Of images, hidden layer and batch, each filled up to a power of two. What ptxas says of an H100: within both limits
# hardly anything leaves the 255 registers of a thread, and a kernel is built within some ten seconds.
MOST_VALUE_BYTES = 20_480  # (features + hidden) x batch
MOST_PRODUCT_BYTES = 65_536  # features x hidden x batch

UPDATE_BY_UPDATE = "on this GPU MLPs train update by update, not in one kernel; slower, the same to rounding"
UPDATES_COMPARED = 3
REPLICAS_COMPARED = 64
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
# One in ten may differ: a hidden unit within rounding of a kink, or a rate at which rounding grows quickly.
SHARE_THAT_AGREES = 0.9

_agrees: dict[tuple[Any, ...], bool] = {}


@dataclass(frozen=True, eq=False)
class Launch:
    """What the kernel is started on.

    Attributes:
        network, rule, criterion, state, inputs, targets, hyperparameters: as `advance_in_registers` takes them.
    """

    network: StackedMLP
    rule: SGDRule
    criterion: StoppingCriterion
    state: ReplicaState
    inputs: Tensor
    targets: Tensor
    hyperparameters: Hyperparameters

    @property
    def shares_data(self) -> bool:
        """Whether all replicas learn from one data set."""
        return len(self.inputs) < len(self.state.parameters)


def fits_in_registers(network: StackedNetwork, rule: UpdateRule, batch: int, dtype: torch.dtype) -> bool:
    """Return whether the kernel can train such networks.

    Args:
        network: the stacked network.
        rule: how weights move.
        batch: examples of one update.
        dtype: of the parameters.
    """
    if not isinstance(network, StackedMLP) or not isinstance(rule, SGDRule) or dtype not in TOLERANCE:
        return False
    features, hidden, examples = (_power_of_two(size) for size in (network.features, network.hidden, batch))
    values, products = (features + hidden) * examples, features * hidden * examples
    return values * dtype.itemsize <= MOST_VALUE_BYTES and products * dtype.itemsize <= MOST_PRODUCT_BYTES


def has_triton() -> bool:
    """Return whether Triton is installed, as it is with torch's CUDA builds for Linux."""
    return find_spec("triton") is not None


def advance_in_registers(
    network: StackedNetwork,
    rule: UpdateRule,
    criterion: StoppingCriterion | None,
    state: ReplicaState,
    inputs: Tensor,
    targets: Tensor,
    hyperparameters: Hyperparameters,
    n_updates: int,
) -> tuple[Tensor, Tensor] | None:
    """Take `n_updates` steps in one kernel; what `advance` does with an eager step, to rounding.

    Only the velocities of replicas that rest may differ: nothing reads them any more.

    Args:
        network: the stacked network.
        rule: how weights move.
        criterion: when a replica rests; None where that is measured elsewhere.
        state: of all replicas; given new tensors, the old ones stay as they were.
        inputs: as the network arranges them, sets = replicas or 1 (shared by all).
        targets: (sets, batch) in {0, 1}.
        hyperparameters: each (replicas, 1), or (n_updates, replicas, 1) where it changes with the update.
        n_updates: >= 1.

    Returns:
        loss and metric before each update, (n_updates, replicas); None where the kernel cannot train these replicas,
        and `state` is as it was.
    """
    is_one_each = all(value.shape[-1] == 1 for value in hyperparameters.values)
    fits = fits_in_registers(network, rule, targets.shape[1], state.parameters.dtype)
    if not (fits and is_one_each):
        return None
    assert isinstance(network, StackedMLP)
    assert isinstance(rule, SGDRule)
    launch = Launch(network, rule, criterion or NEVER, state, inputs, targets, hyperparameters)
    return train_in_one_kernel(launch, n_updates) if _is_trusted(launch) else None


def train_in_one_kernel(launch: Launch, n_updates: int) -> tuple[Tensor, Tensor]:
    """Do what `advance_in_registers` says, whether the kernel is known to agree with the eager step or not.

    Args:
        launch: of networks that fit; its state is given new tensors.
        n_updates: >= 1.

    Returns:
        loss and metric before each update, (n_updates, replicas).
    """
    from lossact.replicas.mlp_program import train_one_replica

    network, state, hyperparameters = launch.network, launch.state, launch.hyperparameters
    replicas, batch = len(state.parameters), launch.targets.shape[1]
    losses, metrics = (state.parameters.new_empty(n_updates, replicas) for _ in range(2))
    after = ReplicaState(*(tensor.clone(memory_format=torch.contiguous_format) for tensor in vars(state).values()))
    most = max(hyperparameters.values, key=torch.numel).shape
    values = torch.cat([value.expand(most) for value in hyperparameters.values], dim=-1)
    train_one_replica[(replicas,)](
        after.parameters,
        after.optimizer_state,
        after.reached.view(torch.int8),
        after.diverged.view(torch.int8),
        launch.inputs.contiguous(),
        launch.targets.to(launch.inputs.dtype).contiguous(),
        hyperparameters.gradient_scale.contiguous(),
        values,
        state.parameters.new_full((1,), launch.criterion.lowest_score),
        losses,
        metrics,
        n_updates,
        replicas,
        values[0].numel() if values.ndim == 3 else 0,
        FEATURES=network.features,
        HIDDEN=network.hidden,
        BATCH=batch,
        PADDED_FEATURES=_power_of_two(network.features),
        PADDED_HIDDEN=_power_of_two(network.hidden),
        PADDED_BATCH=_power_of_two(batch),
        ACTIVATION=network.activation,
        LOSS=network.loss,
        NESTEROV=launch.rule.nesterov,
        OF_LOSS=launch.criterion.of_loss,
        AT_MOST=launch.criterion.at_most,
        SHARED=launch.shares_data,
        num_warps=1,
    )
    vars(state).update(vars(after))
    return losses, metrics


def _is_trusted(launch: Launch) -> bool:
    """Return whether the kernel agrees with the eager step, tried once for each kind of launch."""
    parameters, criterion = launch.state.parameters, launch.criterion
    kind = (
        *(launch.network, launch.rule, criterion.of_loss, criterion.at_most),
        *(parameters.dtype, parameters.device, launch.targets.shape[1], launch.shares_data),
    )
    if kind not in _agrees:
        _agrees[kind] = has_triton() and _is_right(launch)
    return _agrees[kind]


def _is_right(launch: Launch) -> bool:
    """Return whether the kernel can be built and agrees with the eager step; a warning says why not."""
    try:
        from triton import TritonError

        why = _difference(launch)
    except (ImportError, RuntimeError, OSError, CalledProcessError) as error:
        why = _failure(error)
    except TritonError as error:
        why = _failure(error)
    if why is not None:
        warnings.warn(f"{UPDATE_BY_UPDATE}: {why}", stacklevel=2)
    return why is None


def _failure(error: Exception) -> str:
    if ran_out_of_memory(error):
        raise error  # says nothing about the kernel
    return f"the kernel could not be built: {type(error).__name__}: {str(error).strip() or 'no reason was given'}"


def _difference(launch: Launch) -> str | None:
    """Train the first replicas over a few updates by the kernel, and by the eager step in double precision.

    Returns:
        how they differ; None where they agree.
    """
    state, criterion = launch.state, launch.criterion
    first = slice(min(REPLICAS_COMPARED, len(state.parameters)))
    sets = slice(1) if launch.shares_data else first
    few = [tensor[first] for tensor in vars(state).values()]
    data = (launch.inputs[sets], launch.targets[sets])
    of_first_update = [value[0] if value.ndim == 3 else value for value in launch.hyperparameters.values]
    h = Hyperparameters(tuple(value[first] for value in of_first_update), launch.hyperparameters.gradient_scale[first])
    # A target that is met within rounding in one of them alone would let only that one rest.
    out_of_reach = replace(criterion, threshold=-math.inf if criterion.at_most else math.inf)
    kernel = ReplicaState(*few)
    trial = Launch(launch.network, launch.rule, out_of_reach, kernel, *data, h)
    losses, metrics = train_in_one_kernel(trial, UPDATES_COMPARED)

    step = make_step(launch.network, launch.rule, out_of_reach, compiled=False)
    eager = ReplicaState(few[0].double(), few[1].double(), few[2], few[3])
    exact = Hyperparameters(tuple(value.double() for value in h.values), h.gradient_scale.double())
    expected = advance(step, eager, data[0].double(), data[1].double(), exact, UPDATES_COMPARED)

    tolerance = TOLERANCE[state.parameters.dtype]
    moves = ~(eager.reached | eager.diverged)
    checks = {
        "loss": _close(losses.T, expected[0].T, tolerance),
        # A logit within rounding of 0 may count on either side.
        "accuracy": ((metrics - expected[1]).abs() < 1.5 / launch.targets.shape[1]).all(0),
        "parameters": _close(kernel.parameters, eager.parameters, tolerance),
        "velocities": _close(kernel.optimizer_state, eager.optimizer_state, tolerance) | ~moves,
        "replicas at rest": (kernel.reached == eager.reached) & (kernel.diverged == eager.diverged),
    }
    wrong = [name for name, agrees in checks.items() if agrees.double().mean() < SHARE_THAT_AGREES]
    return f"it gave other values than the eager step ({', '.join(wrong)})" if wrong else None


def _close(values: Tensor, expected: Tensor, tolerance: float) -> Tensor:
    """Return (replicas,) whether a replica's values are those expected, relative to the largest of them."""
    finite = expected.isfinite()
    size = torch.where(finite, expected, 0.0).abs().amax(1, keepdim=True)
    agree = torch.where(finite, (values - expected).abs() <= tolerance * size, ~values.isfinite())
    return agree.all(1)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
