"""Train one replica by itself: of a LightningModule that is not stacked, or of a training function."""

import torch
from lightning.fabric.utilities.seed import seed_everything

from lossact.conditions.function import FunctionCondition
from lossact.conditions.lightning import LightningCondition
from lossact.replicas.draws_native import CPU_DRAWS
from lossact.replicas.random_streams import gpus_in_use, isolate_rng
from lossact.running.function_call import call_function
from lossact.running.lightning_fit import fit_module
from lossact.running.outcome import ReplicaOutcome
from lossact.training.compute_config import ComputeConfig


def train_one(
    condition: LightningCondition | FunctionCondition,
    replica_seed: int,
    compute_config: ComputeConfig,
    *,
    draws_for: tuple[int, int] | None = None,
) -> ReplicaOutcome:
    """Train one replica, and leave the random number generators of the process as they were.

    Args:
        condition: what to train.
        replica_seed: the seed of Python's, numpy's and torch's generators, in [0, 2^32).
        compute_config: the device and precision.
        draws_for: the experiment's seed and the replica that the steps of a LightningModule draw for; None for those
            of a plain fit.

    Returns:
        the outcome of the replica.

    Raises:
        InputError: the module, its logged metrics or the function's result are not what the condition describes.
    """
    CPU_DRAWS.is_allowed = compute_config.may_compile
    with torch.random.fork_rng(gpus_in_use(compute_config.device)), isolate_rng():
        seed_everything(replica_seed, verbose=False)
        if isinstance(condition, LightningCondition):
            return fit_module(condition, compute_config, draws_for)
        return call_function(condition, replica_seed)
