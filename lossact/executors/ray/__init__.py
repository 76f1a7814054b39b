"""Blocks on Ray: the executor, the scheduler of its tasks, what is sent to workers, and what a worker does."""

from lossact.executors.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
