"""The quantizer's rule in plain NumPy loops, written from the quantizer specification alone.

A second implementation for one kind of network: convolutions with bias and relu, a mean, a dense
layer. It shares nothing with the library.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np


def round_half_up(t: np.ndarray) -> np.ndarray:
    return np.floor(t.astype(np.float64) + 0.5)


def round_half_away(t: np.ndarray) -> np.ndarray:
    t = t.astype(np.float64)
    return np.sign(t) * np.floor(np.abs(t) + 0.5)


def quant(x: np.ndarray, pos: int, activation: bool) -> np.ndarray:
    step = 2.0**-pos
    rounded = (round_half_up if activation else round_half_away)(x / step)
    return np.clip(rounded * step, -128 * step, 127 * step).astype(np.float32)


def overflow(x: np.ndarray) -> int:
    scale = max(np.float32(x.min()) / np.float32(-128.5), np.float32(x.max()) / np.float32(127.5))
    if scale == 0:
        return 127
    return math.floor(np.float32(math.log2(np.float32(1) / np.float32(scale))))


def diffs(x: np.ndarray, activation: bool) -> int:
    first = overflow(x)
    if first == 127:
        return 127
    best, best_error = first, math.inf
    for pos in range(first, first + 5):
        error = float(np.sum((quant(x, pos, activation).astype(np.float64) - x.astype(np.float64)) ** 2))
        if error < best_error:
            best, best_error = pos, error
    return best


def conv_same(x: np.ndarray, w: np.ndarray, stride: int) -> np.ndarray:
    n, h, wd, c = x.shape
    k, outputs = w.shape[0], w.shape[3]
    oh, ow = -(-h // stride), -(-wd // stride)
    pad_h, pad_w = max((oh - 1) * stride + k - h, 0), max((ow - 1) * stride + k - wd, 0)
    padded = np.zeros((n, h + pad_h, wd + pad_w, c), np.float32)
    padded[:, pad_h // 2:pad_h // 2 + h, pad_w // 2:pad_w // 2 + wd] = x
    result = np.zeros((n, oh, ow, outputs), np.float32)
    for row in range(oh):
        for column in range(ow):
            window = padded[:, row * stride:row * stride + k, column * stride:column * stride + k]
            result[:, row, column] = np.tensordot(window.astype(np.float64), w.astype(np.float64), 3)
    return result


def quantize_network(layers: list, batches: list[np.ndarray]) -> dict[str, int]:
    """Positions by tensor: layers are ("conv", w, b, stride), ("mean",), ("dense", w, b)."""
    votes: dict[str, Counter] = {}

    def fix(name: str, x: np.ndarray, activation: bool, method: int = 1) -> np.ndarray:
        pos = overflow(x) if method == 0 else diffs(x, activation)
        votes.setdefault(name, Counter())[pos] += 1
        return quant(x, pos, activation)

    for batch in batches:
        x = fix("input", batch, True, method=0)
        for index, layer in enumerate(layers):
            if layer[0] == "mean":
                x = fix(f"{index}/out", x.mean(axis=(1, 2)), True)
                continue
            w, b = fix(f"{index}/w", layer[1], False), fix(f"{index}/b", layer[2], False)
            if layer[0] == "conv":
                x = fix(f"{index}/out", np.maximum(conv_same(x, w, layer[3]) + b, 0), True)
            else:
                x = fix(f"{index}/out", (x.astype(np.float64) @ w.astype(np.float64)).astype(np.float32) + b, True)
    return {name: min(count, key=lambda pos: (-count[pos], pos)) for name, count in votes.items()}
