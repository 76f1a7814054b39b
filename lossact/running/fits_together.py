"""Fits of LightningConditions' blocks together, where that can be, and the reasons where it cannot."""

from collections.abc import Sequence

from lossact.checks import ran_out_of_memory
from lossact.conditions.base import BaseCondition
from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.running.fitting_width import FittingWidth
from lossact.running.jobs import BlockJob, replicas_of
from lossact.running.outcome import ReplicaOutcome
from lossact.running.stacked_fit import fit_stacked
from lossact.training.compute_config import ComputeConfig
from lossact.training.quiet import trainer_environment
from lossact.training.stackable import NotStackableError


class FitsTogether:
    """Fits blocks of one launch together.

    Args:
        seed: the experiment's.
        compute_config: how to compute.
        width: how many blocks are fitted together.

    Attributes:
        one_at_a_time: condition to the reason for which its replicas are fitted one at a time.
        apart: the reason for which each condition is fitted by itself; empty as long as they share fits.
    """

    def __init__(self, seed: int, compute_config: ComputeConfig, width: FittingWidth) -> None:
        self.seed, self.compute_config, self.width = seed, compute_config, width
        self.one_at_a_time: dict[BaseCondition, str] = {}
        self.apart = ""

    def fit(self, jobs: Sequence[BlockJob]) -> dict[BlockJob, list[ReplicaOutcome]]:
        """Fit the first of some blocks, and those that may be fitted with it.

        Args:
            jobs: blocks of LightningConditions that differ in numbers of their config at most.

        Returns:
            the outcomes of each block that was fitted; none where its replicas are fitted one at a time.

        Raises:
            InputError: the condition says that its replicas are to be fitted together, and they cannot be.
        """
        condition, _ = jobs[0]
        assert isinstance(condition, LightningCondition)
        if condition in self.one_at_a_time or condition.stacked is False:
            return {}
        candidates = [job for job in jobs if job[0] == condition or not (self.apart or job[0] in self.one_at_a_time)]
        share = len({candidate for candidate, _ in candidates[: self.width.blocks]}) > 1
        try:
            return self._fit(candidates)
        except InputError as error:
            if not share:
                raise
            reason = str(error)
        except NotStackableError as error:
            reason = str(error)
        except (MemoryError, RuntimeError) as error:
            if not ran_out_of_memory(error):
                raise
            reason = f"{condition.block} at once need more memory than there is"
        if share:
            self.apart = reason
            return self.fit(jobs)
        if condition.stacked is True:
            raise InputError(
                f"{condition}: its replicas cannot be fitted together, because {reason}; leave stacked=True out to fit "
                "them one at a time"
            )
        self.one_at_a_time[condition] = reason
        return {}

    def _fit(self, jobs: Sequence[BlockJob]) -> dict[BlockJob, list[ReplicaOutcome]]:
        n_fitted, fitted = self.width.train_first(jobs, self._outcomes)
        return dict(zip(jobs[:n_fitted], fitted, strict=True))

    def _outcomes(self, jobs: Sequence[BlockJob]) -> list[list[ReplicaOutcome]]:
        members = [
            (condition, replica)
            for condition, block in jobs
            if isinstance(condition, LightningCondition)
            for replica in replicas_of(condition, block)
        ]
        with trainer_environment(self.compute_config.threads):
            outcomes = iter(fit_stacked(members, self.seed, self.compute_config))
        return [[next(outcomes) for _ in replicas_of(condition, block)] for condition, block in jobs]
