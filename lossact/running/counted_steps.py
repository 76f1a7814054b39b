"""A LightningModule in a fit of its own, whose steps draw as those of stacked replicas do."""

from functools import wraps
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
    passes: dict[Stage, PlainPass] = {}
    training_step, validation_step, backward = module.training_step, module.validation_step, module.backward
    validation_batches = 0

    @wraps(training_step)
    def counted_training_step(*args: Any, **kwargs: Any) -> Any:
        moment = Moment(seed, Stage.TRAINING, module.trainer.fit_loop.total_batch_idx)
        passes[Stage.TRAINING] = PlainPass(moment, replica, paths)
        with passes[Stage.TRAINING].active():
            return training_step(*args, **kwargs)

    @wraps(validation_step)
    def counted_validation_step(*args: Any, **kwargs: Any) -> Any:
        nonlocal validation_batches
        moment = Moment(seed, Stage.MEASUREMENT, validation_batches)
        validation_batches += 1
        with PlainPass(moment, replica, paths).active():
            return validation_step(*args, **kwargs)

    @wraps(backward)
    def counted_backward(*args: Any, **kwargs: Any) -> None:
        if not module.automatic_optimization or not passes[Stage.TRAINING].draws:  # within training_step, or no matter
            backward(*args, **kwargs)
            return
        with passes[Stage.TRAINING].active():  # a checkpoint runs parts of the step again
            backward(*args, **kwargs)

    module.training_step = counted_training_step  # type: ignore[method-assign]
    module.validation_step = counted_validation_step  # type: ignore[method-assign]
    module.backward = counted_backward  # type: ignore[method-assign]
