"""Fixtures of the engine's tests."""

from tests.replicas.pretended_gpu import pretended_gpu

__all__ = ["pretended_gpu"]
