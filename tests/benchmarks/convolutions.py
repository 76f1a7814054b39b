"""Ways to compute the convolutions of many replicas at once, layer by layer of the small residual network.

    python tests/benchmarks/convolutions.py --json PATH
    python tests/benchmarks/convolutions.py --device cuda --replicas 16

Each layer's forward and backward pass, of batches of 128 that replicas do not share, in turns; medians count. The ways:

- grouped: one convolution with a group a replica, which is what torch.func.vmap makes of it;
- grouped, channels last; grouped, bf16; grouped, tf32 (on a GPU);
- windows: every window copied out, then one batched matrix product;
- in turn: one replica after the other.

Rows: {"layer", "way", "milliseconds", "flop_per_second", "difference"}, the last from the first way's gradients,
relative to the largest.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

BATCH, REPEATS = 128, 5
# Channels in and out, side of the images, window and stride.
LAYERS = {
    "3 to 16, 32x32": (3, 16, 32, 3, 1),
    "16 to 16, 32x32": (16, 16, 32, 3, 1),
    "16 to 32, 32x32, stride 2": (16, 32, 32, 3, 2),
    "32 to 32, 16x16": (32, 32, 16, 3, 1),
    "32 to 64, 16x16, stride 2": (32, 64, 16, 3, 2),
    "64 to 64, 8x8": (64, 64, 8, 3, 1),
    "32 to 64, 16x16, 1x1, stride 2": (32, 64, 16, 1, 2),
}
Way = Callable[[Tensor, Tensor, int], Tensor]


def grouped(images: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Convolve images (replicas, batch, channels, side, side) with weights (replicas, out, channels, w, w)."""
    replicas, batch, channels, side, _ = images.shape
    together = images.transpose(0, 1).reshape(batch, replicas * channels, side, side)
    outputs = functional.conv2d(
        together, weights.flatten(0, 1), stride=stride, padding=weights.shape[-1] // 2, groups=replicas
    )
    return outputs.reshape(batch, replicas, -1, *outputs.shape[2:]).transpose(0, 1)


def channels_last(images: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Convolve as `grouped`, with the channels of a pixel beside each other."""
    replicas, batch, channels, side, _ = images.shape
    together = images.transpose(0, 1).reshape(batch, replicas * channels, side, side)
    outputs = functional.conv2d(
        together.to(memory_format=torch.channels_last),
        weights.flatten(0, 1).to(memory_format=torch.channels_last),
        stride=stride,
        padding=weights.shape[-1] // 2,
        groups=replicas,
    )
    return outputs.reshape(batch, replicas, -1, *outputs.shape[2:]).transpose(0, 1)


def in_bf16(images: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Convolve as `channels_last`, in bfloat16."""
    return channels_last(images.bfloat16(), weights.bfloat16(), stride).float()


def windows(images: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Convolve by one matrix product a replica, of its weights with all windows of its batch."""
    replicas, batch, channels, _, _ = images.shape
    width = weights.shape[-1]
    padded = functional.pad(images, [width // 2] * 4)
    views = padded.unfold(3, width, stride).unfold(4, width, stride)  # (replicas, batch, channels, h, w, width, width)
    height = views.shape[3]
    columns = views.permute(0, 2, 5, 6, 1, 3, 4).reshape(replicas, channels * width**2, batch * height**2)
    outputs = torch.bmm(weights.flatten(2), columns)
    return outputs.reshape(replicas, -1, batch, height, height).transpose(1, 2)


def in_turn(images: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Convolve one replica after the other."""
    padding = weights.shape[-1] // 2
    pairs = zip(images, weights, strict=True)
    return torch.stack([functional.conv2d(own, weight, stride=stride, padding=padding) for own, weight in pairs])


def gradients(way: Way, images: Tensor, weights: Tensor, stride: int, *, tf32: bool) -> tuple[Tensor, ...]:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.deterministic = True  # as lossact trains
    outputs = way(images, weights, stride)
    return torch.autograd.grad(outputs.square().sum(), (images, weights))


def seconds(run: Callable[[], Any], device: str) -> float:
    wait: Callable[[], Any] = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    calls = 20 if device == "cuda" else 2
    wait()
    begin = time.perf_counter()
    for _ in range(calls):
        run()
    wait()
    return (time.perf_counter() - begin) / calls


def measured(layer: str, replicas: int, device: str) -> list[dict[str, Any]]:
    channels, out, side, width, stride = LAYERS[layer]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(replicas, BATCH, channels, side, side, generator=generator).to(device).requires_grad_()
    weights = (torch.randn(replicas, out, channels, width, width, generator=generator) / width).to(device)
    weights.requires_grad_()
    ways: dict[str, tuple[Way, bool]] = {
        "grouped": (grouped, False),
        "grouped, channels last": (channels_last, False),
        "grouped, bf16": (in_bf16, False),
        "windows": (windows, False),
        "in turn": (in_turn, False),
    }
    if device == "cuda":
        ways |= {"grouped, tf32": (channels_last, True), "windows, tf32": (windows, True)}
    runs = {name: partial(gradients, way, images, weights, stride, tf32=tf32) for name, (way, tf32) in ways.items()}
    expected = gradients(grouped, images, weights, stride, tf32=False)
    apart = {
        name: max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(run(), expected, strict=True))
        for name, run in runs.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, run in runs.items():
            taken[name].append(seconds(run, device))
    flop = 3 * 2 * replicas * BATCH * (side // stride) ** 2 * channels * out * width**2
    rows = []
    for name, times in taken.items():
        median = statistics.median(times)
        rows.append(
            {
                "layer": layer,
                "way": name,
                "milliseconds": round(median * 1e3, 3),
                "flop_per_second": round(flop / median),
                "difference": apart[name],
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--json", type=Path, help="where the rows go, too")
    arguments = parser.parse_args()
    rows = []
    for layer in LAYERS:
        for row in measured(layer, arguments.replicas, arguments.device):
            rows.append(row)
            print(
                f"{row['layer']:32} {row['way']:24} {row['milliseconds']:10.2f} ms "
                f"{row['flop_per_second'] / 1e9:8.0f} Gflop/s  {row['difference']:.0e}",
                flush=True,
            )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
