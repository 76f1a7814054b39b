"""Whether accuracy says what it should of a network with one output an example."""

from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor, nn

from lossact.errors import FAILURES, InputError
from lossact.replicas.modules import eval_mode
from lossact.replicas.named_tensors import Inputs, call_with
from lossact.replicas.random_streams import isolate_rng

# Operations that leave numbers above 0 there, by the names of their backward passes.
KEEPING = {
    "AliasBackward0", "CatBackward0", "ClampBackward0", "ClampBackward1", "CloneBackward0", "ExpandBackward0",
    "MeanBackward0", "MeanBackward1", "PermuteBackward0", "ReshapeAliasBackward0", "SelectBackward0", "SliceBackward0",
    "SqueezeBackward0", "SqueezeBackward1", "SqueezeBackward2", "SumBackward0", "SumBackward1", "TBackward0",
    "ToCopyBackward0", "TransposeBackward0", "UnbindBackward0", "UnsafeViewBackward0", "UnsqueezeBackward0",
    "ViewBackward0",
}  # fmt: skip
SIGMOIDS = {"SigmoidBackward0", "HardsigmoidBackward0", "SoftmaxBackward0"}


def check_accuracy(module: nn.Module, inputs: Inputs, targets: Tensor, measured: Mapping[str, Tensor]) -> None:
    """Raise InputError where outputs of one number an example are no logits, or targets no labels of two classes.

    Args:
        module: a network of its own, for the pass may change what it holds.
        inputs, targets: one replica's batch.
        measured: all targets of each split on which accuracy is measured.

    Raises:
        InputError: as above.
    """
    with isolate_rng(), torch.enable_grad():
        every = [call_with(module, inputs)]
        with eval_mode(module), suppress(InputError, *FAILURES):  # its error comes where it is evaluated
            every.append(call_with(module, inputs))
    outputs = every[0]
    if not isinstance(outputs, Tensor) or outputs.numel() != len(targets) or targets.numel() != len(targets):
        return
    for split, labels in measured.items():
        if not _are_labels(labels):
            these = "these" if split == "training" else f"those of {split}"
            raise InputError(
                f"accuracy of one output an example needs targets of 0 and 1, or -1 and 1, and {these} go from "
                f"{labels.min():g} to {labels.max():g}; measure something else, such as Loss() or Metric(f), and "
                "give the condition a target of it, or none"
            )
    if any(isinstance(each, Tensor) and _is_sigmoid(each) for each in every):
        raise InputError(
            "accuracy of one output an example takes logits, and network ends in a sigmoid, whose outputs are all "
            "above 0; leave the sigmoid to the loss, as binary_cross_entropy_with_logits does, or say what counts: "
            "Metric(f) with f(outputs, targets) = ((outputs > 0.5) == (targets > 0.5)).double()"
        )


def _are_labels(targets: Tensor) -> bool:
    """Return whether targets are labels of two classes: in [0, 1], as soft ones are, or -1 and 1."""
    in_range = ((targets >= 0) & (targets <= 1)).all()
    return bool(in_range or ((targets == -1) | (targets == 1)).all())


def _is_sigmoid(outputs: Tensor) -> bool:
    """Return whether numbers come from a sigmoid, or from softmax, and are all above 0."""
    node = outputs.grad_fn
    while node is not None and node.name() in KEEPING:
        node = node.next_functions[0][0]
    return node is not None and node.name() in SIGMOIDS
