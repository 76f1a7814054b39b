"""The verdict that a claim's test expects."""

from lossact.claims.result import ClaimResult


def unmet_expectation(result: ClaimResult, *, strict: bool, out_of_time: bool = False) -> str | None:
    """Return why a claim's test fails by its verdict, or None where it passes.

    Args:
        result: the claim's.
        strict: whether each claim must be SUPPORTED.
        out_of_time: whether --claims-max-seconds ended it before it was decided.
    """
    if strict:
        expected = "supported"
        rule = f"--claims-strict asks for SUPPORTED, measured {result.name.upper()}"
    elif result.recorded is not None:
        expected = result.recorded if result.decides else result.name
        rule = f"recorded {result.recorded.upper()}, measured {result.name.upper()}"
        if out_of_time and result.decides:
            expected, rule = "decided", f"recorded {result.recorded.upper()}, not decided in time"
    else:
        expected = "supported"
        rule = f"no verdict is recorded, measured {result.name.upper()}"
        if result.name == "refuted" and result.decides:
            rule += "; recorded='refuted' in its marker expects that"
    return None if result.name == expected else rule
