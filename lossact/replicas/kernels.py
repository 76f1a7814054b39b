"""Networks that a program of their own trains over all updates of a launch: in C++ on a CPU, in Triton on a GPU.

The first launch of its kind is compared with the eager step; where the two differ, or the program cannot be built,
replicas go on without it.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lossact.checks import ran_out_of_memory
from lossact.replicas.cnn import StackedCNN
from lossact.replicas.engine import NEVER, Hyperparameters, ReplicaState, StoppingCriterion, advance, make_step
from lossact.replicas.launch import Launch
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.mlp_triton import fits_in_registers, has_triton, train_on_gpu
from lossact.replicas.native import BuildError
from lossact.replicas.native_training import RULES, fits_in_cache, train_on_cpu
from lossact.replicas.network import StackedNetwork
from lossact.replicas.update_rules import SGDRule, UpdateRule

Train = Callable[[Launch, int], tuple[Tensor, Tensor]]

WITHOUT = "replicas train update by update, not all updates in one program; slower, the same to rounding"
UPDATES_COMPARED = 3
REPLICAS_COMPARED = 16
VALUES_TRIED = {
    "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3,
}  # fmt: skip
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
# One in ten may differ: a hidden unit within rounding of a kink, or a rate at which rounding grows quickly.
SHARE_THAT_AGREES = 0.9

_agrees: dict[tuple[Any, ...], bool] = {}


def is_for_kernel(
    network: StackedNetwork, rule: UpdateRule, batch: int, dtype: torch.dtype, device: torch.device
) -> bool:
    """Return whether a program trains such networks.

    Args:
        network: the stacked network.
        rule: how weights move.
        batch: examples of one update.
        dtype: of the parameters.
        device: where they train.
    """
    if not isinstance(network, (StackedMLP, StackedCNN)):
        return False
    if device.type == "cpu":
        return rule in RULES and fits_in_cache(network, batch, dtype)
    if not isinstance(network, StackedMLP) or not isinstance(rule, SGDRule):
        return False
    return has_triton() and fits_in_registers(network, batch, dtype)


def advance_in_kernel(
    network: StackedNetwork,
    rule: UpdateRule,
    criterion: StoppingCriterion | None,
    state: ReplicaState,
    inputs: Tensor,
    targets: Tensor,
    hyperparameters: Hyperparameters,
    n_updates: int,
) -> tuple[Tensor, Tensor] | None:
    """Take `n_updates` steps in one program; what `advance` does with an eager step, to rounding.

    Only the optimiser's state of replicas that rest may differ: nothing reads them any more.

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
        loss and metric before each update, (n_updates, replicas); None where no program can train these replicas,
        and `state` is as it was.
    """
    is_one_each = all(value.shape[-1] == 1 for value in hyperparameters.values)
    parameters = state.parameters
    if not is_one_each or not is_for_kernel(network, rule, targets.shape[1], parameters.dtype, parameters.device):
        return None
    assert isinstance(network, (StackedMLP, StackedCNN))
    launch = Launch(network, rule, criterion or NEVER, state, inputs, targets, hyperparameters)
    train = train_on_gpu if state.parameters.device.type == "cuda" else train_on_cpu
    return train(launch, n_updates) if _is_trusted(launch, train) else None


def _is_trusted(launch: Launch, train: Train) -> bool:
    """Return whether the program agrees with the eager step, tried once for each kind of launch."""
    parameters, criterion = launch.state.parameters, launch.criterion
    kind = (
        *(launch.network, launch.rule, criterion.of_loss, criterion.at_most),
        *(parameters.dtype, parameters.device, launch.targets.shape[1], launch.shares_data),
    )
    if kind not in _agrees:
        _agrees[kind] = is_right(launch, train)
    return _agrees[kind]


def is_right(launch: Launch, train: Train) -> bool:
    """Return whether the program can be built and agrees with the eager step; a warning says why not."""
    try:
        why = _difference(launch, train)
    except BuildError as error:
        why = f"it could not be built: {str(error).strip() or 'no reason was given'}"
    except RuntimeError as error:
        if ran_out_of_memory(error):
            raise  # says nothing about the program
        why = f"it failed: {str(error).strip() or 'no reason was given'}"
    if why is not None:
        warnings.warn(f"{WITHOUT}: {why}", stacklevel=2)
    return why is None


def _difference(launch: Launch, train: Train) -> str | None:
    """Train a few replicas by the program, and by the eager step in double precision.

    Start, examples and rates are the same whatever the launch's own: what is found holds for all launches of the kind.

    Returns:
        how they differ; None where they agree.
    """
    kernel, eager = _trial(launch, launch.state.parameters.dtype), _trial(launch, torch.float64)
    losses, metrics = train(kernel, UPDATES_COMPARED)
    step = make_step(eager.network, eager.rule, eager.criterion, compiled=False)
    expected = advance(step, eager.state, eager.inputs, eager.targets, eager.hyperparameters, UPDATES_COMPARED)

    tolerance = TOLERANCE[launch.state.parameters.dtype]
    ours, theirs = kernel.state, eager.state
    checks = {
        "loss": _close(losses.T, expected[0].T, tolerance),
        # A logit within rounding of 0 may count on either side.
        "accuracy": ((metrics - expected[1]).abs() < 1.5 / launch.targets.shape[1]).all(0),
        "parameters": _close(ours.parameters, theirs.parameters, tolerance),
        "optimizer's state": _close(ours.optimizer_state, theirs.optimizer_state, tolerance),
        "replicas at rest": (ours.reached == theirs.reached) & (ours.diverged == theirs.diverged),
    }
    wrong = [name for name, agrees in checks.items() if agrees.double().mean() < SHARE_THAT_AGREES]
    return f"it gave other values than the eager step ({', '.join(wrong)})" if wrong else None


def _trial(launch: Launch, dtype: torch.dtype) -> Launch:
    """Return a launch of the same kind with a start, examples and hyperparameters of its own."""
    random = torch.Generator().manual_seed(0)
    device, batch = launch.state.parameters.device, launch.targets.shape[1]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64)

    sets = 1 if launch.shares_data else REPLICAS_COMPARED
    given = {
        "parameters": normal(REPLICAS_COMPARED, launch.network.size) / math.sqrt(launch.network.fan_in),
        "inputs": launch.network.arrange_inputs(normal(sets, batch, *launch.network.input_shape)),
        "targets": (normal(sets, batch) > 0).double(),
        "scale": 1 + 0.1 * normal(REPLICAS_COMPARED, launch.network.size),
    }
    numbers = {name: tensor.to(device, dtype) for name, tensor in given.items()}
    values = [VALUES_TRIED[name] for name in launch.rule.hyperparameter_names]
    columns = [torch.full((REPLICAS_COMPARED, 1), value, dtype=dtype, device=device) for value in values]
    # A target that is met within rounding in one of them alone would let only that one rest.
    out_of_reach = replace(launch.criterion, threshold=-math.inf if launch.criterion.at_most else math.inf)
    return replace(
        launch,
        criterion=out_of_reach,
        state=ReplicaState.start(numbers["parameters"], launch.rule),
        inputs=numbers["inputs"],
        targets=numbers["targets"],
        hyperparameters=Hyperparameters(tuple(columns), numbers["scale"]),
    )


def _close(values: Tensor, expected: Tensor, tolerance: float) -> Tensor:
    """Return (replicas,) whether a replica's values are those expected, relative to the largest of them."""
    finite = expected.isfinite()
    size = torch.where(finite, expected, 0.0).abs().amax(1, keepdim=True)
    agree = torch.where(finite, (values - expected).abs() <= tolerance * size, ~values.isfinite())
    return agree.all(1)
