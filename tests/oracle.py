"""The DPU's arithmetic in exact fractions, written from the arithmetic specification.

Slow on purpose: plain loops over plain numbers, nothing shared with the library.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any


def two(power: int) -> Fraction:
    return Fraction(2) ** power


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def half_away(value: Fraction) -> int:
    magnitude = math.floor(abs(value) + Fraction(1, 2))
    return magnitude if value >= 0 else -magnitude


def saturate(value: int) -> int:
    return min(127, max(-128, value))


def activate(value: Fraction, nonlinear: str) -> Fraction:
    """On the real value (section 5); relu6 clips at 6, leaky multiplies by 26/256."""
    if nonlinear == "relu":
        return max(value, Fraction(0))
    if nonlinear == "relu6":
        return min(max(value, Fraction(0)), Fraction(6))
    if nonlinear == "leaky_relu" and value < 0:
        return value * Fraction(26, 256)
    return value


def output(real: Fraction, pos: int) -> int:
    return saturate(half_up(real * two(pos)))


def weighted_sum(pairs: Any, x_pos: int, w_pos: int, bias: int, bias_pos: int, nonlinear: str, pos: int) -> int:
    real = sum((Fraction(x) * Fraction(w) for x, w in pairs), Fraction(0)) * two(-x_pos - w_pos)
    return output(activate(real + bias * two(-bias_pos), nonlinear), pos)


def conv2d(x: Any, x_pos: int, w: Any, w_pos: int, bias: Any, bias_pos: int, stride: Any, padding: Any,
           nonlinear: str, pos: int, dilation: Any = (1, 1), groups: int = 1) -> list[Any]:
    """One image: x[h][w][c], weights[kh][kw][c][o], padding (top, bottom, left, right)."""
    height, width = len(x), len(x[0])
    kh, kw, per_group, channels = len(w), len(w[0]), len(w[0][0]), len(w[0][0][0])
    top, bottom, left, right = padding
    rows = (height + top + bottom - (kh - 1) * dilation[0] - 1) // stride[0] + 1
    columns = (width + left + right - (kw - 1) * dilation[1] - 1) // stride[1] + 1
    result = []
    for row in range(rows):
        line = []
        for column in range(columns):
            pixel = []
            for channel in range(channels):
                first = channel // (channels // groups) * per_group
                pairs = []
                for ky, kx, kc in itertools.product(range(kh), range(kw), range(per_group)):
                    y = row * stride[0] - top + ky * dilation[0]
                    z = column * stride[1] - left + kx * dilation[1]
                    if 0 <= y < height and 0 <= z < width:
                        pairs.append((x[y][z][first + kc], w[ky][kx][kc][channel]))
                pixel.append(weighted_sum(pairs, x_pos, w_pos, bias[channel], bias_pos, nonlinear, pos))
            line.append(pixel)
        result.append(line)
    return result


def depthwise(x: Any, x_pos: int, w: Any, w_pos: int, bias: Any, bias_pos: int, stride: Any, padding: Any,
              nonlinear: str, pos: int) -> list[Any]:
    """One image: each channel of x[h][w][c] with weights[kh][kw][c][multiplier]."""
    channels, multiplier = len(w[0][0]), len(w[0][0][0])
    planes = []
    for channel, factor in itertools.product(range(channels), range(multiplier)):
        plane = [[[pixel[channel]] for pixel in row] for row in x]
        kernel = [[[[cell[channel][factor]]] for cell in row] for row in w]
        planes.append(conv2d(plane, x_pos, kernel, w_pos, [bias[channel * multiplier + factor]], bias_pos, stride,
                             padding, nonlinear, pos))
    return [[[plane[row][column][0] for plane in planes] for column in range(len(planes[0][0]))]
            for row in range(len(planes[0]))]


SPECIAL = {(3, 3): (7, 6), (5, 5): (10, 8), (6, 6): (7, 8), (7, 7): (21, 10), (14, 14): (21, 12)}


def average_factor(kh: int, kw: int) -> Fraction:
    """N / 2**M (section 6.2)."""
    if (kh, kw) in SPECIAL:
        n, m = SPECIAL[kh, kw]
        return Fraction(n, 2**m)
    cells, best = kh * kw, Fraction(1000)
    for m in range(math.ceil(math.log2(128 * cells))):
        factor = Fraction(round(Fraction(2**m, cells)), 2**m)
        if abs(factor - Fraction(1, cells)) < abs(best - Fraction(1, cells)):
            best = factor
    return best


def pool(x: Any, x_pos: int, kernel: Any, stride: Any, padding: Any, kind: str, pos: int) -> list[Any]:
    """One image: max over real pixels, or the DPU's average over the whole kernel."""
    height, width, channels = len(x), len(x[0]), len(x[0][0])
    top, bottom, left, right = padding
    rows = (height + top + bottom - kernel[0]) // stride[0] + 1
    columns = (width + left + right - kernel[1]) // stride[1] + 1
    result = []
    for row, column in itertools.product(range(rows), range(columns)):
        cells = [(row * stride[0] - top + ky, column * stride[1] - left + kx)
                 for ky, kx in itertools.product(range(kernel[0]), range(kernel[1]))]
        cells = [(y, z) for y, z in cells if 0 <= y < height and 0 <= z < width]
        for channel in range(channels):
            values = [Fraction(x[y][z][channel]) * two(-x_pos) for y, z in cells]
            real = max(values) if kind == "max" else sum(values) * average_factor(*kernel)
            result.append(output(real, pos))
    return result


def add(operands: Any, nonlinear: str, pos: int) -> int:
    """operands: (integer, position)."""
    return output(activate(sum((v * two(-p) for v, p in operands), Fraction(0)), nonlinear), pos)


def multiply(operands: Any, pos: int) -> int:
    product = Fraction(1)
    for value, position in operands:
        product *= value * two(-position)
    return output(product, pos)


def transposed(x: Any, x_pos: int, w: Any, w_pos: int, bias: Any, bias_pos: int, stride: Any, padding: Any,
               size: Any, nonlinear: str, pos: int) -> list[Any]:
    """One image: every pixel paints weights[kh][kw][o][c], stride apart; what falls outside the size is lost."""
    channels = len(w[0][0])
    top, _, left, _ = padding
    painted: Any = [[[[] for _ in range(channels)] for _ in range(size[1])] for _ in range(size[0])]
    for i, j, ky, kx in itertools.product(range(len(x)), range(len(x[0])), range(len(w)), range(len(w[0]))):
        y, z = i * stride[0] + ky - top, j * stride[1] + kx - left
        if 0 <= y < size[0] and 0 <= z < size[1]:
            for channel in range(channels):
                painted[y][z][channel] += list(zip(x[i][j], w[ky][kx][channel], strict=True))
    return [[[weighted_sum(pairs, x_pos, w_pos, bias[channel], bias_pos, nonlinear, pos)
              for channel, pairs in enumerate(pixel)] for pixel in row] for row in painted]


def move(value: int, value_pos: int, pos: int) -> int:
    """A value at another position."""
    return output(value * two(-value_pos), pos)


def single(op: str, value: int, value_pos: int, pos: int) -> int:
    """An operator on one number (sections 5 and 7.5)."""
    real = value * two(-value_pos)
    if op == "hard_sigmoid":
        return output(max(Fraction(0), real + 3) * Fraction(2731, 2**14), pos)
    if op == "hard_swish":
        return output(real * single("hard_sigmoid", value, value_pos, 7) * two(-7), pos)
    return output(activate(real, op), pos)


def prelu(value: int, value_pos: int, slope: int, slope_pos: int, pos: int) -> int:
    real = value * two(-value_pos)
    return output(real * slope * two(-slope_pos) if value < 0 else real, pos)


def resized(x: Any, x_pos: int, size: Any, kind: str, pos: int) -> list[Any]:
    """One image x[h][w][c]; a new pixel lies at i * old / new."""
    height, width = len(x), len(x[0])
    result = []
    for row, column in itertools.product(range(size[0]), range(size[1])):
        y, z = Fraction(row * height, size[0]), Fraction(column * width, size[1])
        top, left = math.floor(y), math.floor(z)
        down, right = min(top + 1, height - 1), min(left + 1, width - 1)
        for channel in range(len(x[0][0])):
            if kind == "nearest":
                result.append(move(x[top][left][channel], x_pos, pos))
                continue
            above = x[top][left][channel] + (x[top][right][channel] - x[top][left][channel]) * (z - left)
            below = x[down][left][channel] + (x[down][right][channel] - x[down][left][channel]) * (z - left)
            result.append(output((above + (below - above) * (y - top)) * two(-x_pos), pos))
    return result
