"""The words of figures about one neuron."""

from lossact.functional import Neuron
from lossact.functional.surfaces import Quantity

ACTIVATION_WORDS = {
    "sigmoid": "sigmoid", "relu": "ReLU", "tanh": "tanh", "leaky_relu": "leaky ReLU", "softplus": "softplus",
    "gelu": "GELU", "silu": "SiLU",
}  # fmt: skip
LOSS_WORDS = {"l2": "L2", "cross_entropy": "cross-entropy", "hinge": "hinge", "huber": "Huber"}
LOSS_UNITS = {"l2": "squared units of p", "cross_entropy": "nats", "hinge": "units of p", "huber": "squared units of p"}
QUANTITY_WORDS = {"output": "output p", "loss": "loss", "gradient_w": "d loss / dw", "gradient_b": "d loss / db"}


def pair(neuron: Neuron) -> str:
    """Return activation and loss, as a title begins with them."""
    words = f"{ACTIVATION_WORDS[neuron.activation]} with {LOSS_WORDS[neuron.loss]}"
    return words[0].upper() + words[1:]


def surface_title(neuron: Neuron, quantity: Quantity) -> str:
    """Return the title of a surface."""
    activation, loss = ACTIVATION_WORDS[neuron.activation], LOSS_WORDS[neuron.loss]
    return {
        "output": f"Output of a {activation} neuron",
        "loss": f"{loss[0].upper() + loss[1:]} loss of a {activation} neuron",
        "gradient_w": f"Gradient in w: {activation} with {loss}",
        "gradient_b": f"Gradient in b: {activation} with {loss}",
    }[quantity]
