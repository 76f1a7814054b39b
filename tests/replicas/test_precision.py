"""Mixed precision: products in bfloat16, everything that adds up in float32."""

from dataclasses import replace

import numpy as np
import pytest

from lossact import Condition, default_compute_config
from lossact.errors import InputError
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from tests.conftest import cnn_condition, report_condition, train_blocks
from tests.replicas.test_modules import condition as module_condition
from tests.replicas.test_modules import with_batch_norm, with_residual

MIXED = ComputeConfig(precision="bf16-mixed", threads=1)


def losses(condition: Condition, compute_config: ComputeConfig) -> np.ndarray:
    module = stacked_training(condition, 0, range(4), compute_config, curves_of=4)
    fit(module, compute_config)
    return module.outcome().loss


@pytest.mark.parametrize(
    "condition",
    [
        report_condition("sigmoid", budget=60),
        report_condition("relu", "l2", budget=60),
        cnn_condition("relu", "cross_entropy", budget=4),
        module_condition(with_residual, budget=20),
    ],
    ids=str,
)
def test_mixed_precision_follows_single_precision(condition: Condition) -> None:
    mixed, single = losses(condition, MIXED), losses(condition, ComputeConfig(threads=1))
    assert mixed.dtype == single.dtype == np.float32
    assert (mixed != single).any()
    np.testing.assert_allclose(mixed, single, atol=0.02)


def test_a_blocks_bits_do_not_depend_on_its_companions_in_mixed_precision() -> None:
    condition = report_condition(budget=60)
    alone, _, together = (
        next(block for block in train_blocks(condition, 0, blocks, MIXED) if block.first_replica == 64)
        for blocks in ([1], [1, 2], [0, 1, 5])
    )
    np.testing.assert_array_equal(alone.curves.loss, together.curves.loss)


@pytest.mark.slow
def test_mixed_precision_may_be_compiled() -> None:
    condition = report_condition(budget=20)
    compiled = losses(condition, ComputeConfig(precision="bf16-mixed", threads=1, compiled=True))
    np.testing.assert_allclose(compiled, losses(condition, MIXED), atol=0.02)


def test_precisions_are_chosen_by_the_trainers_names() -> None:
    assert default_compute_config(precision="bf16-mixed").precision == "bf16-mixed"
    with pytest.raises(InputError, match="precision='16-mixed' is not known; choose one of 32-true, 64-true, bf16-mix"):
        default_compute_config(precision="16-mixed")


def test_a_network_that_torch_cannot_stack_in_mixed_precision_is_refused_before_training() -> None:
    given = module_condition(with_batch_norm, budget=20)
    with pytest.raises(InputError, match=r"precision='bf16-mixed' .* take another precision, or stacked=False"):
        next(train_blocks(given, 0, [0], MIXED))
    assert len(next(train_blocks(replace(given, stacked=False), 0, [0], MIXED)).trials) == given.block
