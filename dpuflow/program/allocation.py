"""Where a plan's buffers stand in the image groups, beside the maps that stay there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from dpuflow.program.banks import Region, find_space
from dpuflow.program.chip import Buffers
from dpuflow.program.fusion import ELTWISE, Step
from dpuflow.program.plans import Need, Needs
from dpuflow.target.arch import Core

Taken = Mapping[str, Region]  # maps on the chip, whole


def _groups_differ(step: Step, between: int | None, result: int, inputs: Sequence[int]) -> bool:
    """A sliding window reads one image group while it writes another: a group has one port for each."""
    first_out = result if between is None else between
    if step.first.op not in ELTWISE and first_out in inputs:
        return False
    return between is None or step.last.op in ELTWISE or between != result


def allocate(step: Step, need: Needs, core: Core, taken: Taken, resident: Taken, keeps: bool) -> Buffers | None:
    """Regions for a plan's buffers beside what is ``taken``; None if they do not fit. ``resident``: the maps
    that the step reads on the chip."""
    loaded = [name for name in dict.fromkeys(step.inputs) if name not in resident]
    others = [name for name in dict.fromkeys(step.others) if name not in resident]
    wanted: list[tuple[str, str, Need]] = [*(("input", name, need.inputs) for name in loaded),
                                           *(("between", "", need.between) for _ in [0] if need.between),
                                           ("result", "", need.result),
                                           *(("other", name, need.others) for name in others if need.others)]
    for groups in itertools.product(range(core.image_bank_groups), repeat=len(wanted)):
        by_role = {(role, name): group for (role, name, _), group in zip(wanted, groups, strict=True)}
        inputs = [by_role.get(("input", name), resident[name].group if name in resident else -1)
                  for name in step.inputs]
        if not _groups_differ(step, by_role.get(("between", "")), by_role["result", ""], inputs):
            continue
        regions = _regions(wanted, groups, core, taken)
        if regions is not None:
            here = {name: resident[name] for name in step.reads if name in resident}
            return Buffers({name: here.get(name) or regions["input", name] for name in step.inputs},
                           {name: here.get(name) or regions["other", name] for name in step.others},
                           regions.get(("between", "")), regions["result", ""], frozenset(here), keeps)
    return None


def _regions(wanted: Sequence[tuple[str, str, Need]], groups: Sequence[int], core: Core,
             taken: Taken) -> dict[tuple[str, str], Region] | None:
    used = {group: [(region.base, region.end) for region in taken.values() if region.group == group]
            for group in range(core.image_bank_groups)}
    made = {}
    for (role, name, need), group in zip(wanted, groups, strict=True):
        base = find_space(used[group], need.bank_rows, core.bank_depth)
        if base is None:
            return None
        made[role, name] = Region(group, base, need.ring, need.cols, need.lanes)
        used[group].append((base, base + need.bank_rows))
    return made
