"""Take measures once of networks as they start, so that a measure that fails does so before anything is trained."""

from collections.abc import Sequence

import torch

from lossact.conditions.condition import Condition
from lossact.running.jobs import BlockJob, describe
from lossact.running.stacking import stack_replicas
from lossact.training.compute_config import ComputeConfig


def check_measures(jobs: Sequence[BlockJob], seed: int, compute_config: ComputeConfig) -> None:
    """Take every measure of the first replica of each condition whose first block is to be trained.

    Args:
        jobs: blocks.
        seed: the experiment's, >= 0.
        compute_config: how to compute; measures are tried on the CPU.

    Raises:
        InputError: a measure raises, or returns something else than a number.
    """
    for condition, block in jobs:
        if block or not isinstance(condition, Condition) or not condition.measures:
            continue
        try:
            module = stack_replicas([(condition, 0)], seed, compute_config, curves_of=0)
            module.population.prepare(
                torch.device("cpu"), compiled=False, native=False, mixed=False, measures_apart=True
            )
            module.recorder.check()
        except Exception as error:
            error.add_note(f"while measures were tried for {describe([(condition, block)])}")
            raise
