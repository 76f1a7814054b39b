"""Holm's step-down procedure."""

from collections.abc import Sequence

from lossact.errors import InputError


def holm(p_values: Sequence[float], *, alpha: float, family_size: int) -> list[bool]:
    """Return which hypotheses Holm's procedure rejects at family-wise level alpha.

    Args:
        p_values: of the hypotheses at hand; the family's others enter as p = 1.
        alpha: family-wise error probability.
        family_size: hypotheses in the family, at least as many as p-values.

    Returns:
        whether each is rejected, in the order of the p-values.

    Raises:
        InputError: there are more p-values than hypotheses in the family.

    Reference: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 1979.
    """
    if len(p_values) > family_size:
        raise InputError(f"family_size={family_size} must be at least the number of p-values, {len(p_values)}")
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > alpha / (family_size - rank):
            break
        rejected[index] = True
    return rejected
