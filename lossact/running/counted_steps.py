"""A LightningModule in a fit of its own, whose steps draw as those of stacked replicas do."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from lightning.pytorch import LightningModule

from lossact.replicas.draws import Moment, PlainPass, module_paths
from lossact.replicas.passes import Stage


def count_draws(module: LightningModule, seed: int, replica: int) -> None:
    """Have the steps of a module draw by a counter, and leave the generators of the process to its data.

    Args:
        module: the module; its steps and its backward are replaced.
        seed: the experiment's.
        replica: index of the replica.
    """
    paths = module_paths(module)
    newest: dict[Stage, PlainPass] = {}
    quiet: set[Stage] = set()  # stages whose first step drew nothing, as in a plain fit from then on
    training_step, validation_step, backward = module.training_step, module.validation_step, module.backward
    validation_batches = 0

    is_running = False

    def run(stage: Stage, batch: int, step: Callable[[], Any]) -> Any:
        nonlocal is_running
        if stage in quiet:
            return step()
        first = stage not in newest
        newest[stage] = PlainPass(Moment(seed, stage, batch), replica, paths)
        is_running = True
        try:
            with newest[stage].active():
                returned = step()
        finally:
            is_running = False
        if first and newest[stage].draws_nothing:
            quiet.add(stage)
        return returned

    @wraps(training_step)
    def counted_training_step(*args: Any, **kwargs: Any) -> Any:
        if is_running:  # a step that another step calls is a part of that one
            return training_step(*args, **kwargs)
        batch = module.trainer.fit_loop.total_batch_idx
        return run(Stage.TRAINING, batch, partial(training_step, *args, **kwargs))

    @wraps(validation_step)
    def counted_validation_step(*args: Any, **kwargs: Any) -> Any:
        nonlocal validation_batches
        if is_running:
            return validation_step(*args, **kwargs)
        validation_batches += 1
        return run(Stage.MEASUREMENT, validation_batches - 1, partial(validation_step, *args, **kwargs))

    @wraps(backward)
    def counted_backward(*args: Any, **kwargs: Any) -> None:
        if module.automatic_optimization and newest[Stage.TRAINING].draws:
            with newest[Stage.TRAINING].active():  # a checkpoint runs parts of the step again
                backward(*args, **kwargs)
        else:
            backward(*args, **kwargs)

    module.training_step = counted_training_step  # type: ignore[method-assign]
    module.validation_step = counted_validation_step  # type: ignore[method-assign]
    module.backward = counted_backward  # type: ignore[method-assign]
