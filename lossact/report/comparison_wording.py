"""What every form of a comparison of recorded runs says, in the same words."""

import math

from lossact.report.comparison import ConditionRow, RunComparison
from lossact.stats.recorded import PairResult

MOST_DECIMALS = 9


def counted(comparison: RunComparison) -> str:
    """The number of conditions and runs."""
    runs = [row.n for row in comparison.conditions]
    return f"{len(runs)} conditions, {sum(runs)} recorded runs; a fixed number"


def undecidable(comparison: RunComparison) -> list[str]:
    """What cannot be decided with so few runs, to be said before anything else."""
    n = {row.name: row.n for row in comparison.conditions}
    lines = []
    for pair in comparison.pairs:
        if not pair.is_decided and not pair.can_decide:
            runs = f"{n[pair.better]} and {n[pair.worse]} runs"
            if pair.has_too_many_ties:
                is_target = comparison.question.target is not None
                runs = f"So many of {runs} {'did not reach the target, or tie,' if is_target else 'tie'} that they"
            lines.append(
                f"cannot be decided: {pair.better} and {pair.worse}. {runs} give no p below {pair.smallest_p:.2g}, and "
                f"{pair.p_needed:.2g} is needed here"
            )
    return lines


def correction(comparison: RunComparison) -> str:
    """How the pairs are decided together."""
    pairs, alpha = len(comparison.pairs), comparison.question.alpha
    test = "sign test" if comparison.paired else "rank-sum test"
    bounded = sum(not pair.superiority.is_exact for pair in comparison.pairs)
    if bounded:
        which = "" if bounded == pairs else f" for {bounded} of them"
        hidden = any(pair.superiority.undetermined for pair in comparison.pairs)
        why = "runs hide which came first" if hidden else "there are too many runs to count"
        test += f", by an upper bound of p{which}: {why}"
    if pairs == 1:
        exact = "" if bounded else "exact "
        return f"1 pair, two-sided at {2 * alpha:g}: {exact}{test}. Intervals hold at {1 - 2 * alpha:.4g}"
    return (
        f"{pairs} pairs, two-sided at {2 * alpha:g} for all together: {'' if bounded == pairs else 'exact '}{test}, "
        f"Holm's correction for {pairs} pairs. The intervals of all pairs hold at once, with probability "
        f"{1 - 2 * alpha:.4g}"
    )


def number(value: float, decimals: int) -> str:
    """A value with fixed decimals, or as 1.23e-14 where it is tiny; "none" for a bound that so few runs do not give."""
    is_tiny = decimals > MOST_DECIMALS and abs(value) < 10.0**-MOST_DECIMALS
    return format(value, ".3g" if is_tiny else f".{decimals}f") if math.isfinite(value) else "none"


def bounds(low: float, high: float, decimals: int) -> str:
    """An interval, or that there is none."""
    if not math.isfinite(low) and not math.isfinite(high):
        return "too few runs"
    return f"[{number(low, decimals)}, {number(high, decimals)}]"


def verdict(pair: PairResult) -> str:
    """The verdict in one word."""
    return "better" if pair.is_decided else "open"


def superiority(pair: PairResult) -> str:
    """The probability that a run of the better is better than one of the worse."""
    decision = pair.superiority
    return f"{decision.value:.3f} [{decision.low:.3f}, {decision.high:.3f}]"


def advantage(pair: PairResult, decimals: int) -> str:
    """By how much, with its interval."""
    if pair.advantage is None:
        return "hidden by ends of runs"
    shift = pair.advantage
    return f"{number(shift.value, decimals)} {bounds(shift.low, shift.high, decimals)}"


def plan(pair: PairResult, comparison: RunComparison) -> str:
    """What an open pair would need; "" for a decided one."""
    if pair.is_decided:
        return ""
    kind = "pairs" if comparison.paired else "runs of each"
    needs = "more than 1,000" if pair.runs_to_decide is None else f"about {pair.runs_to_decide}"
    hidden = pair.superiority.undetermined
    lost = f"; ends of runs or steps between records hide {hidden} of {_n_pairs(pair)} orders" if hidden else ""
    able = "" if pair.can_decide else "; too many ties to decide" if pair.has_too_many_ties else "; too few to decide"
    return f"needs {needs} {kind}{able}{lost}"


def _n_pairs(pair: PairResult) -> int:
    decision = pair.superiority
    return decision.wins + decision.ties + decision.losses + decision.undetermined


def reading(comparison: RunComparison) -> list[str]:
    """How the tables are to be read."""
    probability = "that a run of the first condition is better than one of the second, ties one half"
    advantage = "Hodges-Lehmann shift"
    if comparison.paired:
        probability = "that the first condition is better in a pair that is not tied"
        advantage = "median difference"
    lines = [
        f"P is the probability {probability}; the advantage is the {advantage} in {comparison.unit}.",
        "Describing, not deciding: the interquartile mean (without the lowest and highest quarter of the runs), the "
        "standard deviation, and each median's own 95% interval.",
    ]
    if any(not pair.is_decided for pair in comparison.pairs):
        lines.append(
            "Runs needed are a plan: recorded anew, for a difference as large as the one seen here, four times out of "
            "five. Adding runs to these and testing again raises the error; mark runs that keep coming as extendable."
        )
    return lines


def warnings(comparison: RunComparison) -> list[str]:
    """Each warning once, with the pairs that it is about."""
    by_text: dict[str, list[str]] = {}
    for pair in comparison.pairs:
        if pair.warning and pair.is_decided:
            by_text.setdefault(_kind(pair.warning), []).append(f"{pair.better} / {pair.worse}")
    return [f"{text} ({_few(pairs)})" for text, pairs in by_text.items()]


def _kind(warning: str) -> str:
    """A warning without the numbers of one pair."""
    subject, _, rest = warning.partition(": ")
    unlike = [word for word in ("numbers of runs", "interquartile spreads") if word in subject]
    return f"the {' and the '.join(unlike)} differ twofold: {rest}"


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more pairs"


def condition_cells(row: ConditionRow, decimals: int) -> list[str]:
    """n, median, interquartile mean, standard deviation and the median's interval, as text."""
    if row.description is None:
        return [str(row.n), f"reached by {row.n_reached} of {row.n}", "", "", ""]
    each = row.description
    return [
        str(row.n),
        number(each.median, decimals),
        number(each.interquartile_mean, decimals),
        number(each.deviation, decimals + (1 if decimals else 0)),
        bounds(each.low, each.high, decimals),
    ]


CONDITION_COLUMNS = ("condition", "runs", "median", "interquartile mean", "deviation", "95% interval of the median")
PAIR_COLUMNS = ("condition", "", "than", "P(better) and interval", "advantage and interval", "")
