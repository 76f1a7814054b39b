import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from lossact.errors import InputError
from lossact.stats import holm


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1), min_size=1, max_size=10),
    st.integers(0, 5),
    st.sampled_from([0.01, 0.025, 0.05, 0.2]),
)
def test_holm_equals_statsmodels(p_values: list[float], missing: int, alpha: float) -> None:
    expected = multipletests(p_values + [1.0] * missing, alpha=alpha, method="holm")[0][: len(p_values)]
    np.testing.assert_array_equal(holm(p_values, alpha=alpha, family_size=len(p_values) + missing), expected)


def test_holm_rejects_more_than_bonferroni() -> None:
    assert holm([0.01, 0.02], alpha=0.025, family_size=2) == [True, True]
    assert holm([0.01, 0.02], alpha=0.025, family_size=3) == [False, False]


def test_more_p_values_than_hypotheses_are_named() -> None:
    with pytest.raises(InputError, match="family_size=1 must be at least the number of p-values, 2"):
        holm([0.1, 0.2], alpha=0.05, family_size=1)


@pytest.mark.parametrize("size", [1, 3])
def test_no_hypothesis_no_rejection(size: int) -> None:
    assert holm([], alpha=0.05, family_size=size) == []
