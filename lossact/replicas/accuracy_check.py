"""Whether accuracy says what it should of a network with one output an example."""

import torch
from torch import Tensor, nn

from lossact.errors import InputError
from lossact.replicas.named_tensors import Inputs, call_with
from lossact.replicas.random_streams import isolate_rng

# Operations that change no number, or none in (0, 1), by the names of their backward passes.
KEEPING = {
    "AliasBackward0", "CatBackward0", "ClampBackward0", "ClampBackward1", "CloneBackward0", "ExpandBackward0",
    "ReshapeAliasBackward0", "SelectBackward0", "SliceBackward0", "SqueezeBackward0", "SqueezeBackward1", "TBackward0",
    "ToCopyBackward0", "TransposeBackward0", "UnsafeViewBackward0", "UnsqueezeBackward0", "ViewBackward0",
}  # fmt: skip


def check_accuracy(module: nn.Module, inputs: Inputs, targets: Tensor, all_targets: Tensor) -> None:
    """Raise InputError where outputs of one number an example are no logits, or targets no labels of two classes.

    Args:
        module: a network of its own, for the pass may change what it holds.
        inputs, targets: one replica's batch.
        all_targets: of all replicas and examples.

    Raises:
        InputError: as above.
    """
    with isolate_rng(), torch.enable_grad():
        outputs = call_with(module, inputs)
    if not isinstance(outputs, Tensor) or outputs.numel() != len(targets) or targets.numel() != len(targets):
        return
    if not _are_labels(all_targets):
        raise InputError(
            "accuracy of one output an example needs targets of 0 and 1, or -1 and 1, and these go from "
            f"{all_targets.min():g} to {all_targets.max():g}; measure something else, such as Loss() or Metric(f), and "
            "give the condition a target of it, or none"
        )
    if _is_sigmoid(outputs):
        raise InputError(
            "accuracy of one output an example takes logits, and network ends in a sigmoid, whose outputs are all "
            "above 0; leave the sigmoid to the loss, as binary_cross_entropy_with_logits does, or say what counts: "
            "Metric(f) with f(outputs, targets) = ((outputs > 0.5) == (targets > 0.5)).double()"
        )


def _are_labels(targets: Tensor) -> bool:
    """Return whether targets are labels of two classes: two values in [0, 1], as smoothed ones are, or -1 and 1."""
    low, high = float(targets.min()), float(targets.max())
    of_two = bool(((targets == low) | (targets == high)).all())
    return of_two and (0 <= low <= high <= 1 or {low, high} <= {-1.0, 1.0})


def _is_sigmoid(outputs: Tensor) -> bool:
    """Return whether the last operation that changed the numbers was a sigmoid."""
    node = outputs.grad_fn
    while node is not None and node.name() in KEEPING:
        node = node.next_functions[0][0]
    return node is not None and node.name() == "SigmoidBackward0"
