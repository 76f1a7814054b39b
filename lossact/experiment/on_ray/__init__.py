"""Blocks on Ray: the executor, launches under way, what travels, and what a worker does with it."""

from lossact.experiment.on_ray.executor import RayExecutor

__all__ = ["RayExecutor"]
