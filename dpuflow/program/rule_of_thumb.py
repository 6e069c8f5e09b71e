"""About how long a plan takes, without writing it: what the search ranks plans by."""

from __future__ import annotations

from collections.abc import Mapping

from dpuflow.program.fusion import ELTWISE, Stage, Step
from dpuflow.program.maps import lanes_of, strips_of, up
from dpuflow.program.plans import Needs, Plan, chunk_rows, column_tiles, holds_weights, kernel_parts, moves
from dpuflow.target.arch import Core
from dpuflow.target.board import BoardTiming, map_weight


class RuleOfThumb:
    """For one core on one board; ``sizes``: bytes of every map."""

    def __init__(self, core: Core, board: BoardTiming, sizes: Mapping[str, int]) -> None:
        self.core, self.board, self.sizes = core, board, sizes
        self.rate, self.map_weight = board.port_bytes_per_cycle * board.port_efficiency, map_weight(board)

    def _array_cycles(self, stage: Stage) -> float:
        oh, ow, oc = stage.output
        core = self.core
        if stage.op == "conv":
            rows = stage.input[0] if stage.window.transposed else oh
            cols = stage.input[1] if stage.window.transposed else ow
            return (strips_of(rows, core) * cols * up(oc, core.output_channel_parallel) * chunk_rows(stage, core)
                    / self.board.array_efficiency)
        parallel = {"dwconv": core.dwconv_pixel_parallel, "add": core.eltwise_pixel_parallel,
                    "mul": core.eltwise_pixel_parallel}.get(stage.op, core.pool_pixel_parallel)
        cells = stage.window.kernel[0] * stage.window.kernel[1]
        return up(oh, max(parallel, 1)) * ow * lanes_of(oc, core) * cells / self.board.alu_efficiency

    def _weight_bytes(self, stage: Stage) -> int:
        if stage.op == "dwconv":
            return stage.window.kernel[0] * stage.window.kernel[1] * stage.output[2]
        if stage.op != "conv":
            return 0
        return sum(kh * kw for (kh, kw), _ in kernel_parts(stage)) * stage.input[2] * stage.output[2]

    def _engines(self, step: Step) -> float:
        times = [self._array_cycles(stage) for stage in step.stages]
        return sum(times) if step.last.op in ELTWISE else max(times)

    def cycles(self, step: Step, plan: Plan, need: Needs, on_chip: frozenset[str]) -> float:
        """About how long a plan takes: the slowest of computing, loading and saving, and its first and last tile."""
        tiles, xs = moves(step, plan, self.core), column_tiles(step, plan)
        passes = up(step.last.output[2], plan.block) if plan.order == "weights" else 1
        whole = need.inputs.ring >= strips_of(step.first.input[0], self.core) and len(xs) == 1
        channels = 1 if step.first.channelwise or whole else passes
        again = 1.0 + 0.02 * (len(xs) - 1)
        features = sum(self.sizes[name] for name in step.inputs if name not in on_chip) * channels * again
        features += sum(self.sizes[name] for name in step.others if name not in on_chip)
        weights = sum(map(self._weight_bytes, step.stages))
        reloads = len(tiles) * len(xs) if plan.order == "features" and not holds_weights(step.first, self.core) else 1
        features *= self.map_weight
        load, save = (features + weights * reloads) / self.rate, self.sizes[step.name] * self.map_weight / self.rate
        compute, count = self._engines(step), len(tiles) * len(xs) * up(step.last.output[2], plan.block)
        first = (features / channels / len(tiles) / len(xs) + weights / up(step.last.output[2], plan.block)) / self.rate
        deep = step.first.op == "conv" and min(plan.block, step.last.output[2]) * chunk_rows(step.first, self.core) \
            > self.core.output_channel_parallel * self.core.bank_depth // 2 and not holds_weights(step.first, self.core)
        busy = compute + load + save if not plan.ahead else max(compute + load if deep else compute, load, save)
        return busy + first + save / max(count, 1) + count * (self.board.issue_cycles + 2 * self.board.latency_cycles)
