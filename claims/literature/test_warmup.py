"""Where a transformer's layer norms stand, and whether its learning rate has to warm up."""

from functools import partial

import pytest

from claims.literature.transformer import Copier, copying_loss, sequences_to_copy, share_copied
from lossact import Adam, Condition, GeneratedData, Hypothesis, Metric, all_of, higher, warmup_hold_decay


def copier(name: str, *, norms_first: bool, warmup: int = 0) -> Condition:
    """Make a condition that learns to copy by Adam at a high rate, 100 updates of 16 sequences."""
    rate = 0.02
    return Condition(
        name=name,
        network=partial(Copier, norms_first),
        loss=copying_loss,
        optimizer=Adam(learning_rate=warmup_hold_decay(rate, warmup=warmup, decay=0) if warmup else rate),
        data=GeneratedData(sequences_to_copy),
        batch_size=16,
        budget=100,
        measures={"share copied": Metric(share_copied, split="validation")},
        measured_every=100,
    )


@pytest.mark.claim(
    "without a warm-up a transformer with layer norms after its blocks learns less than with norms before them, "
    "and less than with a warm-up",
    source="Xiong et al., On layer normalization in the transformer architecture, ICML 2020",
    recorded="supported",
)
def test_post_norm_needs_a_warmup() -> Hypothesis:
    post = copier("post-norm", norms_first=False)
    return all_of(
        higher("share copied", copier("pre-norm", norms_first=True), than=post, by=0.1),
        higher("share copied", copier("post-norm, warm-up", norms_first=False, warmup=50), than=post, by=0.1),
    )
