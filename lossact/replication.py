"""Train replicas of a condition for their own sake: outcomes, values, curves and trained networks, without a claim."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_count, checked_call
from lossact.conditions.condition import Condition
from lossact.errors import InputError
from lossact.experiment import default_compute_config
from lossact.storage.trials import Trials
from lossact.training.compute_config import ComputeConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Replicas:
    """Trained replicas of a condition.

    Attributes:
        condition: what was trained.
        trials: updates to the target, divergence and measured values, (replicas,) each.
        loss, metric: (replicas, budget + 1) before each update and once after the last; `metric` is what the condition
            measures beside the loss.
        networks: each replica's trained network, an ordinary module in evaluation mode on the CPU; its `state_dict()`
            is what a checkpoint holds.
    """

    condition: Condition
    trials: Trials
    loss: NDArray[np.floating[Any]]
    metric: NDArray[np.floating[Any]]
    networks: "tuple[nn.Module, ...]"

    def __len__(self) -> int:
        return len(self.networks)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each replica, as csv.DictWriter and data frames take them.

        Returns:
            dicts of the replica's index, its updates to the target (None where it was not reached), whether it
            diverged, and each of its values by name.
        """
        return [
            {
                "replica": trial.replica,
                "steps_to_target": trial.steps_to_target,
                "diverged": trial.diverged,
                **{name: float(values[trial.replica]) for name, values in self.trials.values.items()},
            }
            for trial in self.trials
        ]


@checked_call
def replicate(
    condition: Condition, *, replicas: int = 64, seed: int = 0, compute_config: ComputeConfig | None = None
) -> Replicas:
    """Train replicas of a condition together, and return what became of them; nothing is stored.

    Args:
        condition: what to train.
        replicas: how many, >= 1; replica r is the one that claims with this seed train, on a GPU to rounding.
        seed: what the replicas draw from, >= 0.
        compute_config: how to compute; by default as default_compute_config has it.

    Returns:
        the replicas.

    Raises:
        InputError: the condition is not a Condition, or another argument breaks its rule.
    """
    if not isinstance(condition, Condition):
        raise InputError(f"condition={condition!r} must be a lossact.Condition, whose networks lossact holds")
    check_count("replicas", replicas, hint=64)
    check_count("seed", seed, at_least=0, hint=0)
    from lossact.running.runner import fit
    from lossact.running.stacking import stacked_training

    config = default_compute_config() if compute_config is None else compute_config
    outcomes = []
    networks: list[nn.Module] = []
    for first in range(0, replicas, condition.block):
        indices = range(first, min(first + condition.block, replicas))
        module = stacked_training(condition, seed, indices, config, curves_of=len(indices))
        fit(module, config)
        outcomes.append(module.outcome())
        networks += (network.cpu() for network in module.population.networks_apart())
    reached = np.concatenate([outcome.reached for outcome in outcomes])
    steps = np.concatenate([outcome.steps_to_target for outcome in outcomes])
    trials = Trials(
        np.where(reached, steps, 0),
        reached,
        np.concatenate([outcome.diverged for outcome in outcomes]),
        condition.budget,
        values={name: np.concatenate([outcome.values[name] for outcome in outcomes]) for name in condition.value_names},
    )
    loss, metric = (np.concatenate([getattr(outcome, name) for outcome in outcomes]) for name in ("loss", "metric"))
    return Replicas(condition, trials, loss, metric, tuple(networks))
