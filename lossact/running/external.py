"""Train one replica of a condition that lossact does not stack: a LightningModule, or a training function."""

import torch
from lightning.fabric.utilities.seed import seed_everything

from lossact.conditions.function import FunctionCondition
from lossact.conditions.lightning import LightningCondition
from lossact.replicas.random_streams import isolate_rng
from lossact.running.function_call import call_function
from lossact.running.lightning_fit import fit_module
from lossact.running.outcome import ReplicaOutcome
from lossact.running.stacking import replica_seed
from lossact.training.compute_config import ComputeConfig


def train_one(
    condition: LightningCondition | FunctionCondition, seed: int, replica: int, compute_config: ComputeConfig
) -> ReplicaOutcome:
    """Train one replica, and leave the random number generators of the process as they were.

    Args:
        condition: what to train.
        seed: the experiment's.
        replica: index of the replica.
        compute_config: the device and precision.

    Returns:
        the outcome of the replica.

    Raises:
        InputError: the module, its logged metrics or the function's result are not what the condition describes.
    """
    with torch.random.fork_rng(), isolate_rng():  # on GPUs, and on the CPU
        own_seed = replica_seed(seed, replica)  # of Python's, numpy's and torch's generators
        seed_everything(own_seed, verbose=False)
        if isinstance(condition, LightningCondition):
            return fit_module(condition, compute_config, seed, replica)
        return call_function(condition, own_seed)
