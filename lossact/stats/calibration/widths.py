"""How wide intervals are, and how far the effect at a verdict is from the truth."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lossact.stats.calibration.errors import ALPHA, LIMIT, PAIRWISE
from lossact.stats.calibration.scenarios import coin
from lossact.stats.calibration.tables import Row, Table, at_most
from lossact.stats.replay import Replay

THETAS = (0.5, 0.6, 0.75, 0.9)
HORIZON = 20_000
BLOCK = 16
Floats = NDArray[np.float64]


def look_end(replicas: int) -> int:
    """Return where the look with a verdict ends: each look adds a block, or a quarter of the replicas before it."""
    end = BLOCK
    while end < replicas:
        end += max(1, end // 4 // BLOCK) * BLOCK
    return min(end, LIMIT)


def _follow(theta: float, seed: int, n: int) -> Floats:
    """(n, 5) effect at the verdict and at its look's end, widths after 2,048 and 20,000, whether theta was missed."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(n):
        (outcomes,) = coin(theta)(rng, HORIZON)
        replay = Replay(PAIRWISE, alpha=ALPHA)
        replay.extend([outcomes[:LIMIT]])
        at_limit, decided = replay.effect, replay.decided_at
        replay.extend([outcomes[LIMIT:]])
        effect = replay.effect
        at_verdict = np.nan if decided is None else outcomes[:decided].mean() / 2
        at_end = np.nan if decided is None else outcomes[: look_end(decided)].mean() / 2
        missed = not effect.low <= theta <= effect.high
        widths = [max(0.0, each.high - each.low) for each in (at_limit, effect)]
        runs.append((at_verdict, at_end, *widths, missed))
    return np.array(runs)


def width_table(pool: ProcessPoolExecutor, n: int, *, short: bool) -> Table:
    """Widths after 2,048 and 20,000 replicas, coverage up to there, and effects at a verdict."""
    rows = []
    for theta in THETAS:
        parts = [min(25, n - at) for at in range(0, n, 25)]
        runs = np.concatenate(list(pool.map(partial(_follow, theta), range(len(parts)), parts)))
        decided = np.isfinite(runs[:, 0])
        at_verdict, at_end = runs[decided, :2].mean(0)
        missed = int(runs[:, 4].sum())
        cells = (f"{at_verdict:.3f}", f"{at_end:.3f}", f"{runs[:, 2].mean():.3f}", f"{runs[:, 3].mean():.4f}")
        kept = at_most(missed, n, 2 * ALPHA, short=short)
        rows.append(Row((f"{theta}", *cells, f"{1 - missed / n:.4f}"), kept))
    rule = (
        f"The {1 - 2 * ALPHA:.0%} confidence sequence holds theta through {HORIZON:,} replicas, whatever the verdict. "
        f"Means of {n} simulations a row; effects are those of runs with a verdict within {LIMIT:,}."
    )
    columns = ("theta", "effect at the verdict", "at the look's end", "width, 2,048", "width, 20,000", "covered")
    return Table("Widths", rule, columns, rows)
