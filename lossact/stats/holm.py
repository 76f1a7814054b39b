"""Holm's step-down procedure."""

from collections.abc import Sequence


def holm(p_values: Sequence[float], *, alpha: float, family_size: int) -> list[bool]:
    """Which hypotheses Holm rejects at family-wise level alpha.

    Args:
        p_values: of the hypotheses at hand; the family's others enter as p = 1.
        alpha: family-wise error probability.
        family_size: hypotheses in the family, at least as many as p-values.

    Reference: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 1979.
    """
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > alpha / (family_size - rank):
            break
        rejected[index] = True
    return rejected
