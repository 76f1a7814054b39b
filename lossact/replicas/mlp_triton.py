"""All updates of a launch in one kernel on a GPU, for MLPs whose images fit into registers.

One program trains one replica. Images, weights and velocities stay in registers from its first update to its last, and
nobody waits between updates for another kernel to start.
"""

from importlib.util import find_spec
from subprocess import CalledProcessError

import torch
from torch import Tensor

from lossact.replicas.launch import Launch
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.native import BuildError
from lossact.replicas.update_rules import SGDRule

# Of images, hidden layer and batch, each filled up to a power of two. What ptxas says of an H100 for the 99 largest
# shapes within the limits: beyond the 255 registers of a thread at most 0.7 kB spill to memory, with the
# warps that `warps_of` gives; with one warp up to 17 kB would.
MOST_VALUE_BYTES = 20_480  # (features + hidden) x batch
MOST_PRODUCT_BYTES = 65_536  # features x hidden x batch
MOST_WEIGHTS_OF_A_WARP, MOST_HIDDEN_OF_A_WARP = 128, 8


def fits_in_registers(network: StackedMLP, batch: int, dtype: torch.dtype) -> bool:
    """Return whether the kernel can train such MLPs.

    Args:
        network: the stacked network.
        batch: examples of one update.
        dtype: of the parameters.
    """
    if dtype not in (torch.float32, torch.float64):
        return False
    f, h, b = (_power_of_two(size) for size in (network.features, network.hidden, batch))
    return (f + h) * b * dtype.itemsize <= MOST_VALUE_BYTES and f * h * b * dtype.itemsize <= MOST_PRODUCT_BYTES


def warps_of(network: StackedMLP) -> int:
    """Return how many warps share the work of one replica."""
    features, hidden = _power_of_two(network.features), _power_of_two(network.hidden)
    is_small = features * hidden <= MOST_WEIGHTS_OF_A_WARP and hidden <= MOST_HIDDEN_OF_A_WARP
    return 1 if is_small else 4


def has_triton() -> bool:
    """Return whether Triton is installed, as it is with torch's CUDA builds for Linux."""
    return find_spec("triton") is not None


def train_on_gpu(launch: Launch, n_updates: int) -> tuple[Tensor, Tensor]:
    """Take all updates of a launch.

    Args:
        launch: of networks that fit; its state is given new tensors.
        n_updates: >= 1.

    Returns:
        loss and metric before each update, (n_updates, replicas).

    Raises:
        BuildError: the kernel cannot be built.
    """
    try:
        from triton import TritonError
    except ImportError as error:
        raise BuildError(str(error)) from error
    try:
        return _start(launch, n_updates)
    except (TritonError, CalledProcessError, OSError) as error:
        raise BuildError(f"{type(error).__name__}: {str(error).strip() or 'no reason was given'}") from error


def _start(launch: Launch, n_updates: int) -> tuple[Tensor, Tensor]:
    from lossact.replicas.mlp_program import train_one_replica

    assert isinstance(launch.network, StackedMLP)
    assert isinstance(launch.rule, SGDRule)
    network, criterion, batch = launch.network, launch.criterion, launch.targets.shape[1]
    after, tensors = launch.tensors(n_updates)
    replicas = len(after.parameters)
    train_one_replica[(replicas,)](
        *tensors[:8],
        after.parameters.new_full((1,), criterion.lowest_score),
        *tensors[8:],
        n_updates,
        replicas,
        launch.values_stride,
        FEATURES=network.features,
        HIDDEN=network.hidden,
        BATCH=batch,
        PADDED_FEATURES=_power_of_two(network.features),
        PADDED_HIDDEN=_power_of_two(network.hidden),
        PADDED_BATCH=_power_of_two(batch),
        ACTIVATION=network.activation,
        LOSS=network.loss,
        NESTEROV=launch.rule.nesterov,
        OF_LOSS=criterion.of_loss,
        AT_MOST=criterion.at_most,
        SHARED=launch.shares_data,
        num_warps=warps_of(network),
    )
    vars(launch.state).update(vars(after))
    return tensors[-2], tensors[-1]


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
