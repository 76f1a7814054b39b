"""All updates of a launch in one program in C++ on a CPU, a share of the replicas a thread.

Images, weights and velocities of a replica stay in a core's first cache from its first update to its last. A replica is
computed by itself, so that its bits depend neither on others nor on the number of threads.
"""

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from lossact.replicas.compiled import worker_threads
from lossact.replicas.mlp_launch import Launch
from lossact.replicas.native import REAL, build

SOURCE = Path(__file__).with_name("mlp_program.cpp")
# (features + hidden) x batch; within the second cache the program is faster than products of whole matrices, above not.
MOST_BYTES = 300_000
SHARES = 4  # of a thread: replicas that rest early leave theirs to others
# As the program numbers them.
ACTIVATIONS = ("gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "tanh")
LOSSES = ("cross_entropy", "hinge", "huber", "l2")
ARGUMENTS = (
    *[ctypes.c_void_p] * 10,
    *[ctypes.c_int64] * 5,
    *[ctypes.c_int] * 2,
    *[ctypes.c_bool] * 4,
    ctypes.c_double,
)


def fits_in_cache(features: int, hidden: int, batch: int, dtype: torch.dtype) -> bool:
    """Return whether the program is the fastest for such MLPs.

    Args:
        features, hidden: layer widths.
        batch: examples of one update.
        dtype: of the parameters.
    """
    return dtype in REAL and (features + hidden) * batch * dtype.itemsize <= MOST_BYTES


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
    dtype, batch = launch.state.parameters.dtype, launch.targets.shape[1]
    program = build(SOURCE, REAL=REAL[dtype], FEATURES=network.features, HIDDEN=network.hidden, BATCH=batch)
    train = program.train_mlps
    train.argtypes, train.restype = ARGUMENTS, None
    after, tensors = launch.tensors(n_updates)
    replicas, stride = len(after.parameters), launch.values_stride
    pointers = [tensor.data_ptr() for tensor in tensors]
    settings = (
        ACTIVATIONS.index(network.activation), LOSSES.index(network.loss), launch.rule.nesterov,
        criterion.of_loss, criterion.at_most, launch.shares_data, criterion.lowest_score,
    )  # fmt: skip
    n_threads = torch.get_num_threads()
    share = -(-replicas // (SHARES * n_threads))

    def train_share(first: int) -> None:
        train(*pointers, first, min(first + share, replicas), replicas, n_updates, stride, *settings)

    for done in worker_threads(n_threads).map(train_share, range(0, replicas, share)):
        assert done is None
    vars(launch.state).update(vars(after))
    return tensors[-2], tensors[-1]
