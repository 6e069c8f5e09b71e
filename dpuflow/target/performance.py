"""How long layers take on a core: the formulas of the performance specification.

Every figure is predicted, not measured. The tile scheduler, which will yield traffic and overlap
from the very schedule that a program runs, is to replace ``node_time``; the engine formulas stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dpuflow.target.arch import Core
from dpuflow.target.work import ConvWork, EltwiseWork, LayerWork, MoveWork, PoolWork

ISSUE_EFFICIENCY = 0.985  # steady state of the array (section 3)


@dataclass(frozen=True)
class BoardTiming:
    """What a board adds to a core: clock, memory ports, fixed costs (sections 2 and 4)."""

    clock_mhz: float
    port_bytes_per_cycle: float  # per direction
    port_efficiency: float
    ddr_bytes_per_second: float
    fixed_cycles: float = 500.0
    fixed_us: float = 4.0
    error_band: str = ""


# Sustained rates of Zynq-7000 are the start values of the performance specification, section 2: none
# was measured. Those of the MPSoC boards follow from one node that only loads weights (section 5:
# 5.04 GB/s of a 9.0 GB/s port at 281 MHz).
ZYNQ_7000 = BoardTiming(90.0, 16.0, 0.75, 2.6e9,
                        error_band="+-10 % compute-bound, +-40 % for small-image nets limited by loading weights")
MPSOC = BoardTiming(300.0, 32.0, 0.56, 14e9,
                    error_band="+-15 % for large images, +-40 % for small-image nets limited by loading weights")
_ZYNQ_7000_PORT_BITS = 64


def board_timing(core: Core) -> BoardTiming:
    """The timing facts of the board that a core sits on, told by the width of its memory ports."""
    return ZYNQ_7000 if core.hp_port_bits <= _ZYNQ_7000_PORT_BITS else MPSOC


def up(value: int, multiple: int) -> int:
    """The next multiple."""
    return -(-value // multiple) * multiple


def is_augmented(work: ConvWork, core: Core) -> bool:
    """Whether one kernel row is packed into the input lanes (section 3, augmentation rule)."""
    return (core.channel_augmentation > 0 and not work.depthwise and work.input[2] < core.input_channel_parallel
            and work.kernel[1] > 1 and work.kernel[1] * work.input[2] <= core.channel_augmentation)


def padded_products(work: ConvWork, core: Core) -> int:
    """Products per output value with the input lanes rounded up (Kpad)."""
    (kh, kw), ic, icp = work.kernel, work.input[2], core.input_channel_parallel
    return kh * up(kw * ic, icp) if is_augmented(work, core) else kh * kw * up(ic, icp)


def conv_cycles(work: ConvWork, core: Core) -> int:
    """Cycles of the convolution array: exact (section 3)."""
    oh, ow, oc = work.output
    return (math.ceil(oh / core.pixel_parallel) * ow * math.ceil(oc / core.output_channel_parallel)
            * (padded_products(work, core) // core.input_channel_parallel))


def alu_cycles(output: tuple[int, int, int], kernel_cells: int, pixel_parallel: int, core: Core) -> int:
    """Cycles of a pool, depthwise or elementwise engine (section 3)."""
    oh, ow, channels = output
    return (math.ceil(oh / max(pixel_parallel, 1)) * ow * math.ceil(channels / core.input_channel_parallel)
            * kernel_cells)


def workload(work: LayerWork) -> int:
    """Operations as the vendor counts them, biases included (section 3)."""
    oh, ow, oc = work.output
    if isinstance(work, ConvWork):
        return 2 * work.macs + oh * ow * oc
    if isinstance(work, PoolWork):
        return oh * ow * oc * work.kernel[0] * work.kernel[1]
    return 0


def workload_on_arch(work: LayerWork, core: Core) -> int:
    """Operations with every lane rounded up (section 3)."""
    oh, ow, oc = work.output
    channels = up(oc, core.output_channel_parallel)
    if isinstance(work, ConvWork) and not work.depthwise:
        return up(oh, core.pixel_parallel) * ow * channels * (2 * padded_products(work, core) + 1)
    if isinstance(work, ConvWork):
        cells = work.kernel[0] * work.kernel[1]
        return up(oh, max(core.dwconv_pixel_parallel, 1)) * ow * channels * (2 * cells + 1)
    if isinstance(work, PoolWork):
        return up(oh, core.pool_pixel_parallel) * ow * channels * work.kernel[0] * work.kernel[1]
    return 0


@dataclass(frozen=True)
class Traffic:
    """Bytes that a layer moves, by direction."""

    loaded: int
    saved: int


def _map_bytes(size: tuple[int, int, int]) -> int:
    return size[0] * size[1] * size[2]


def tile_count(work: LayerWork, core: Core) -> int:
    """Into how many row strips the input must be cut to fit half an image group (section 4)."""
    h, w, c = work.input
    rows = math.ceil(h / core.pixel_parallel) * w * math.ceil(c / core.input_channel_parallel)
    return max(1, math.ceil(rows / (core.bank_depth // 2)))


def weight_rows(work: ConvWork, core: Core) -> int:
    """Rows of the weight banks that one chunk of output channels takes."""
    return padded_products(work, core) // core.input_channel_parallel


def weight_blocks(work: ConvWork, core: Core) -> int:
    """Into how many parts the weights must be cut to fit half the weight RAM (section 4)."""
    chunks_at_once = max(1, core.bank_depth // 2 // weight_rows(work, core))
    return math.ceil(math.ceil(work.output[2] / core.output_channel_parallel) / chunks_at_once)


def conv_traffic(work: ConvWork, core: Core) -> Traffic:
    """Weights again for each strip, or features again for each block of weights: the cheaper."""
    features, weights = _map_bytes(work.input), work.weight_bytes
    strips = tile_count(work, core)
    halo = (strips - 1) * max(work.kernel[0] - work.stride[0], 0) * work.input[1] * work.input[2]
    blocks = 1 if work.depthwise else weight_blocks(work, core)
    again = 0 if blocks == 1 else min(weights * (strips - 1), (features + halo) * (blocks - 1))
    return Traffic(features + halo + weights + again, _map_bytes(work.output))


def traffic(work: LayerWork, core: Core) -> Traffic:
    """Bytes loaded and saved by a layer."""
    if isinstance(work, ConvWork):
        return conv_traffic(work, core)
    if isinstance(work, MoveWork):
        return Traffic(0, 0)
    operands = work.operands if isinstance(work, EltwiseWork) else 1
    return Traffic(_map_bytes(work.input) * operands, _map_bytes(work.output))


@dataclass(frozen=True)
class LayerEstimate:
    """A layer's predicted time, and the engine that bounds it."""

    name: str
    cycles: int
    ms: float
    macs: int
    bytes: int
    bound: str
    array_cycles: int = 0


@dataclass(frozen=True)
class Estimate:
    """A network's predicted time on a core at a clock."""

    total_ms: float
    fps: float
    clock_mhz: float
    error_band: str
    core: str
    layers: tuple[LayerEstimate, ...]


def compute_cycles(work: LayerWork, core: Core) -> tuple[str, int]:
    """The engine that computes a layer, and its cycles."""
    if isinstance(work, ConvWork) and not work.depthwise:
        return "conv", conv_cycles(work, core)
    if isinstance(work, ConvWork):
        cells = work.kernel[0] * work.kernel[1]
        return "dwconv", alu_cycles(work.output, cells, core.dwconv_pixel_parallel, core)
    if isinstance(work, PoolWork):
        return "pool", alu_cycles(work.output, work.kernel[0] * work.kernel[1], core.pool_pixel_parallel, core)
    if isinstance(work, EltwiseWork):
        adds = max(work.operands - 1, 1)
        return "eltwise", adds * alu_cycles(work.output, 1, core.eltwise_pixel_parallel, core)
    return "none", 0


def _fixed_cycles(board: BoardTiming, clock_mhz: float) -> float:
    return board.fixed_cycles + board.fixed_us * clock_mhz


def node_traffic(works: Sequence[LayerWork], core: Core) -> Traffic:
    """Bytes of a convolution and of the layers it absorbs: what lies in between stays on the chip."""
    moved = [traffic(work, core) for work in works]
    loaded = moved[0].loaded + sum(part.loaded - _map_bytes(work.input)
                                   for part, work in zip(moved[1:], works[1:], strict=True))
    return Traffic(loaded, moved[-1].saved)


def serialises(work: LayerWork, core: Core) -> bool:
    """Whether a block of weights fills more than half the RAM: loading and computing then add up (section 4)."""
    return (isinstance(work, ConvWork) and not work.depthwise
            and weight_rows(work, core) > core.bank_depth // 2)


def _engine_times(works: Sequence[LayerWork], core: Core) -> dict[str, float]:
    """Cycles by engine; elementwise time is added to its convolution's (section 4)."""
    times: dict[str, float] = {}
    for work in works:
        engine, array = compute_cycles(work, core)
        cycles = array / ISSUE_EFFICIENCY if engine == "conv" else float(array)
        key = "conv" if engine == "eltwise" and "conv" in times else engine
        times[key] = times.get(key, 0.0) + cycles
    return times


def _node_cycles(works: Sequence[LayerWork], core: Core, board: BoardTiming, clock_mhz: float) -> tuple[str, float]:
    """The slowest engine of a node and the node's cycles (section 4)."""
    moved, rate = node_traffic(works, core), board.port_bytes_per_cycle * board.port_efficiency
    ddr_rate = board.ddr_bytes_per_second / (clock_mhz * 1e6)
    times = _engine_times(works, core)
    transfers = {"load": moved.loaded / rate, "save": moved.saved / rate,
                 "ddr": (moved.loaded + moved.saved) / ddr_rate}
    strips = tile_count(works[0], core)
    edges = (_map_bytes(works[0].input) + _map_bytes(works[-1].output)) / strips / rate
    fixed = _fixed_cycles(board, clock_mhz)
    if serialises(works[0], core):
        times = {"load": times["conv"] + transfers["load"]}
    times |= {name: cycles for name, cycles in transfers.items() if cycles > times.get(name, 0.0)}
    slowest = max(times, key=lambda name: times[name])
    return (slowest if times[slowest] >= fixed else "fixed cost"), times[slowest] + edges + fixed


Span = tuple[str, float, float]  # engine, first and last cycle


def node_intervals(works: Sequence[LayerWork], core: Core, board: BoardTiming,
                   clock_mhz: float) -> tuple[list[Span], float]:
    """When each engine of a node works, in cycles from the node's start, and when the node ends."""
    total = _node_cycles(works, core, board, clock_mhz)[1]
    moved, rate = node_traffic(works, core), board.port_bytes_per_cycle * board.port_efficiency
    strips, start = tile_count(works[0], core), _fixed_cycles(board, clock_mhz)
    load, save = moved.loaded / rate, moved.saved / rate
    first = start + (load if serialises(works[0], core) else _map_bytes(works[0].input) / strips / rate)
    computing = [(engine, first, first + cycles) for engine, cycles in _engine_times(works, core).items()]
    return [("load", start, start + load), *computing, ("save", max(total - save, start), total)], total


def _estimate_node(works: Sequence[LayerWork], core: Core, board: BoardTiming,
                   clock_mhz: float) -> list[LayerEstimate]:
    """A row for each layer; the time of the whole node stands in its first."""
    macs = [work.macs if isinstance(work, ConvWork) else 0 for work in works]
    arrays = [compute_cycles(work, core)[1] for work in works]
    if compute_cycles(works[0], core)[0] == "none":
        return [LayerEstimate(works[0].name, 0, 0.0, 0, 0, "placement")]
    bound, cycles = _node_cycles(works, core, board, clock_mhz)
    moved = node_traffic(works, core)
    first = LayerEstimate(works[0].name, math.ceil(cycles), cycles / clock_mhz / 1e3, macs[0],
                          moved.loaded + moved.saved, bound, arrays[0])
    return [first, *(LayerEstimate(work.name, 0, 0.0, macs[at], 0, "fused", arrays[at])
                     for at, work in enumerate(works) if at)]


def nodes_of(works: Sequence[LayerWork]) -> list[list[LayerWork]]:
    """Convolutions with the layer that each absorbs, and all other layers by themselves."""
    nodes: list[list[LayerWork]] = []
    by_name: dict[str, list[LayerWork]] = {}
    for work in works:
        if work.absorbed_by in by_name:
            by_name[work.absorbed_by].append(work)
        else:
            nodes.append([work])
            by_name[work.name] = nodes[-1]
    return nodes


def estimate(works: Sequence[LayerWork], core: Core, clock_mhz: float | None = None,
             board: BoardTiming | None = None) -> Estimate:
    """The predicted time of layers run one after the other on one core.

    ``clock_mhz`` and ``board`` default to those of the board that the core sits on.
    """
    board = board or board_timing(core)
    clock = clock_mhz or board.clock_mhz
    layers = tuple(row for node in nodes_of(works) for row in _estimate_node(node, core, board, clock))
    total = sum(layer.ms for layer in layers)
    return Estimate(total, 1e3 / total if total else 0.0, clock, board.error_band, core.name, layers)
