"""Read runs that were made already: tables, folders of logs, W&B."""

from lossact.conditions.reading.read_runs import read_runs

__all__ = ["read_runs"]
