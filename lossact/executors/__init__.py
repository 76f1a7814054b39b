"""Executors, which train blocks of replicas in this process or on a Ray cluster."""

from lossact.executors.base import Executor
from lossact.executors.local import LocalExecutor
from lossact.executors.ray import RayExecutor

__all__ = ["Executor", "LocalExecutor", "RayExecutor"]
