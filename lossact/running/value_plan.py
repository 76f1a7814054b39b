"""From the measures of a condition to the functions that take them of its replicas."""

from collections.abc import Sequence

from lossact.conditions.measures import Loss, Measure, Metric
from lossact.conditions.value_measures import Best, OfNetwork
from lossact.errors import InputError
from lossact.functional import is_correct
from lossact.replicas.objective import Objective
from lossact.replicas.random_streams import MEASURE, replica_generator
from lossact.running.examples import ReplicaKey
from lossact.training.base import ExampleSets
from lossact.training.values import ValueFunction, ValuePlan


def value_plan(
    members: Sequence[ReplicaKey], seed: int, objective: Objective, examples: ExampleSets
) -> ValuePlan | None:
    """Return what is measured of a condition's replicas besides their curves; None without measures.

    Args:
        members: conditions that share their measures, and replica indices.
        seed: the experiment's.
        objective: the condition's, for measures of the loss.
        examples: (sets, n, ...) of each split that the data have.

    Raises:
        InputError: the data have no examples of a split that a measure needs.
    """
    condition, _ = members[0]
    if not condition.measures:
        return None
    sets = {
        split: given
        for split, given in (
            ("training", examples.training),
            ("validation", examples.validation),
            ("test", examples.test),
        )
        if given is not None
    }
    for name, measure in condition.measures.items():
        if measure.split and measure.split not in sets:
            raise InputError(
                f"{condition}: measures[{name!r}] is on {measure.split} examples, and its data have none; give data "
                "that have them, or measure other examples"
            )
    best = {name: measure for name, measure in condition.measures.items() if isinstance(measure, Best)}
    return ValuePlan(
        functions={
            name: _function_of(measure, objective) for name, measure in condition.measures.items() if name not in best
        },
        best={
            name: (_function_of(measure.measure, objective), measure.mode)
            for name, measure in best.items()
            if isinstance(measure.measure, Measure)
        },
        moments=condition.measured_at,
        examples=sets,
        seeds=[int(replica_generator(seed, replica, MEASURE).integers(2**63)) for _, replica in members],
    )


def _function_of(measure: Measure, objective: Objective) -> ValueFunction:
    if isinstance(measure, OfNetwork):
        return ValueFunction(measure.function, measure.split, of_network=True, may_draw=True)
    if isinstance(measure, Loss):
        return ValueFunction(objective.mean_loss, measure.split)
    if isinstance(measure, Metric):
        return ValueFunction(measure.function, measure.split, may_draw=True)
    return ValueFunction(Objective(objective.loss, is_correct).mean_metric, measure.split)
