"""Training on Ray: the executor, its scheduler and submitter, and the task that runs on a worker."""

from lossact.executors.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
