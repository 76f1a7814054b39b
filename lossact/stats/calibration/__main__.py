"""Run all tables, print them, and exit with 1 where one does not keep its rule."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from lossact.errors import LossactError
from lossact.stats.calibration.errors import coverage_table, error_table, order_table
from lossact.stats.calibration.exact import exact_table, verdicts_table
from lossact.stats.calibration.families import family_table, map_table, same_condition_table
from lossact.stats.calibration.mean_values import mean_table
from lossact.stats.calibration.power import power_table
from lossact.stats.calibration.recorded import recorded_table
from lossact.stats.calibration.values import value_table
from lossact.stats.calibration.widths import width_table

TABLES = (
    "exact",
    "verdicts",
    "errors",
    "coverage",
    "widths",
    "orderings",
    "power",
    "families",
    "maps",
    "recorded",
    "values",
    "means",
    "same",
)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m lossact.stats.calibration", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a fraction of the simulations, in half a minute")
    parser.add_argument("--trials", type=Path, help=".npz of steps_to_target of real conditions, -1 where not reached")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one a core")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=TABLES, help="tables to make; default: all")
    arguments = parser.parse_args()
    short = arguments.short
    many, some = (200, 100) if short else (10_000, 5_000)
    begin = time.perf_counter()
    kept = True
    with ProcessPoolExecutor(arguments.processes) as pool:
        makers = {
            "exact": partial(exact_table, pool, many),
            "verdicts": partial(verdicts_table, pool, many),
            "errors": partial(error_table, pool, many),
            "coverage": partial(coverage_table, pool, many),
            "widths": partial(width_table, pool, 10 if short else many // 4),
            "orderings": partial(order_table, pool, some),
            "power": partial(power_table, pool, 1000 if short else many),
            "families": partial(family_table, pool, 50 if short else 2_000),
            "maps": partial(map_table, pool, 20 if short else 1_000),
        }
        makers["recorded"] = partial(recorded_table, pool, 200 if short else 5_000)
        makers["values"] = partial(value_table, pool, many)
        makers["means"] = partial(mean_table, pool, many)
        if arguments.trials is not None:
            makers["same"] = partial(same_condition_table, pool, 100 if short else 2000, arguments.trials)
        for make in (maker for name, maker in makers.items() if name in arguments.only):
            try:
                table = make(short=short)
            except LossactError as error:
                sys.exit(str(error))
            print(table, flush=True)
            kept = kept and table.kept
    minutes, seconds = divmod(round(time.perf_counter() - begin), 60)
    print(f"{time.strftime('%d %B %Y')}, {minutes} min {seconds} s on {arguments.processes} processes: ", end="")
    print("every rule is kept" if kept else "a rule is NOT KEPT")
    sys.exit(not kept)


if __name__ == "__main__":
    main()
