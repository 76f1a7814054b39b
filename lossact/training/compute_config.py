"""How replicas are computed: device, precision, compiled or not, and threads."""

from dataclasses import dataclass

from lossact.checks import check_choice, check_count

DEVICES = ("cpu", "cuda", "mps")
PRECISIONS = ("32-true", "64-true", "bf16-mixed")


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """How replicas are computed, apart from what they are.

    Args:
        device: "cpu", "cuda", …: the kind, not the index.
        precision: "32-true", "64-true" or "bf16-mixed", as the Trainer names them.
        compiled: whether the step goes through torch.compile.
        threads: CPU threads of one operation.

    Raises:
        InputError: a value breaks its rule.
    """

    device: str = "cpu"
    precision: str = "32-true"
    compiled: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        check_choice("device", self.device, DEVICES)
        check_choice("precision", self.precision, PRECISIONS)
        check_count("threads", self.threads)
