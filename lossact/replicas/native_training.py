"""All updates of a launch in one program in C++ on a CPU, a share of the replicas a thread.

A replica is computed by itself, from its first update to its last: what it needs stays in a core's caches, and its bits
depend neither on others nor on the number of threads.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lossact.replicas.cnn import StackedCNN
from lossact.replicas.launch import Launch
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.native import REAL, SOURCES, build
from lossact.replicas.slices import slices_of
from lossact.replicas.update_rules import AdamRule, SGDRule, UpdateRule
from lossact.replicas.workers import n_workers, worker_threads

# Of an MLP's images and units, (features + hidden) x batch: up to here they stay in the second cache, and the program
# is faster than products of whole matrices.
MOST_BYTES = 300_000
MOST_WEIGHT_BYTES = 16_000_000  # features x hidden; each thread keeps some copies
# Of a CNN's images, and of its units and parameters. Up to 400,000 were tried, and the program was faster.
MOST_NUMBERS = 400_000
SHARES = 4  # of a thread: where replicas rest early, the others go on to the next share
# As the program numbers them.
ACTIVATIONS = ("gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "tanh")
LOSSES = ("cross_entropy", "hinge", "huber", "l2")
RULES: tuple[UpdateRule, ...] = (SGDRule(), SGDRule(nesterov=True), AdamRule(), AdamRule(decoupled=True))
ARGUMENTS: Sequence[Any] = (
    *[ctypes.c_void_p] * 10,
    *[ctypes.c_int64] * 7,
    *[ctypes.c_int] * 3,
    *[ctypes.c_bool] * 3,
    ctypes.c_double,
)


def fits_in_cache(network: StackedMLP | StackedCNN, batch: int, dtype: torch.dtype) -> bool:
    """Return whether the program is the fastest for such networks.

    Args:
        network: the stacked network.
        batch: examples of one update.
        dtype: of the parameters.
    """
    if dtype not in REAL:
        return False
    if isinstance(network, StackedMLP):
        values, weights = (network.features + network.hidden) * batch, network.features * network.hidden
        return values * dtype.itemsize <= MOST_BYTES and weights * dtype.itemsize <= MOST_WEIGHT_BYTES
    height, width = network.image_shape
    return max(batch * height * width, 3 * network.units + network.size) <= MOST_NUMBERS


def train_on_cpu(launch: Launch, n_updates: int) -> tuple[Tensor, Tensor]:
    """Take all updates of a launch.

    Args:
        launch: its state is given new tensors.
        n_updates: >= 1.

    Returns:
        loss and metric before each update, (n_updates, replicas).

    Raises:
        BuildError: the program cannot be built.
    """
    network, criterion = launch.network, launch.criterion
    source = "mlp.cpp" if isinstance(network, StackedMLP) else "cnn.cpp"
    constants = {"REAL": REAL[launch.state.parameters.dtype], "BATCH": launch.targets.shape[1]}
    train = build(SOURCES / source, **constants, **network.constants).train
    train.argtypes, train.restype = ARGUMENTS, None
    after, tensors = launch.tensors(n_updates)
    replicas, state_size = after.parameters.shape[0], after.optimizer_state.shape[1]
    _check(launch)
    sizes = replicas, n_updates, state_size, len(launch.hyperparameters.values), launch.values_stride
    settings = (
        ACTIVATIONS.index(network.activation), LOSSES.index(network.loss), RULES.index(launch.rule),
        criterion.of_loss, criterion.at_most, launch.shares_data, criterion.lowest_score,
    )  # fmt: skip
    share = -(-replicas // (SHARES * n_workers()))  # rounded up

    def train_share(rows: slice) -> None:
        # Whoever interrupts this leaves threads at work, which hold on to the tensors.
        pointers = [tensor.data_ptr() for tensor in tensors]
        train(*pointers, rows.start, rows.stop, *sizes, *settings)

    for done in worker_threads(n_workers()).map(train_share, slices_of(replicas, share)):
        assert done is None
    vars(launch.state).update(vars(after))
    return tensors[-2], tensors[-1]


def _check(launch: Launch) -> None:
    """Raise ValueError where tensors are not as the program reads them, by their addresses."""
    state, h, dtype = launch.state, launch.hyperparameters, launch.state.parameters.dtype
    replicas, sets = len(state.parameters), len(launch.inputs)
    expected = launch.rule.start(state.parameters)
    like_parameters = (state.optimizer_state, launch.inputs, h.gradient_scale, *h.values)
    is_right = (
        state.parameters.shape[1] == launch.network.size
        and state.optimizer_state.shape == expected.shape
        and h.gradient_scale.shape == state.parameters.shape
        and all(tensor.dtype == dtype for tensor in like_parameters)
        and sets in (1, replicas)
        and len(launch.targets) == sets
        and launch.inputs[0].numel() == launch.network.n_inputs(launch.targets.shape[1])
        and len(h.values) == len(launch.rule.hyperparameter_names)
    )
    if not is_right:
        raise ValueError("the state, the examples or the hyperparameters are not those of the network and its rule")
