"""The performance specification's formulas against its rows and figures."""

from __future__ import annotations

import dataclasses

import pytest

from dpuflow.target.performance import (
    compute_cycles,
    conv_cycles,
    is_augmented,
    padded_products,
    workload,
    workload_on_arch,
)
from dpuflow.target.select import find_target
from dpuflow.target.work import ConvWork, EltwiseWork, MoveWork, PoolWork
from target.layer_lists import mobilenet_v1, resnet50, vgg16

ZED, B1600, B4096 = (find_target(name) for name in ("zedboard", "ultra96", "DPUCZDX8G_ISA1_B4096"))
PYNQ = find_target("pynq-z2")


def conv(x, y, kernel, **changes) -> ConvWork:
    return ConvWork("c", x, y, kernel, **changes)


# Section 3: the table of attributes of vendor files.
@pytest.mark.parametrize(("work", "pool", "true", "padded"), [
    (conv((22, 22, 1), (22, 22, 32), (7, 7)), None, 1_533_312, 3_801_600),
    (conv((16, 16, 32), (16, 16, 32), (7, 7)), PoolWork("p", (16, 16, 32), (8, 8, 32), (2, 2)), 25_706_496, 25_706_496),
    (conv((2, 2, 64), (1, 1, 10), (2, 2)), None, 5_130, 65_664),
    (conv((124, 108, 32), (124, 108, 32), (3, 3)), None, 247_269_888, 255_246_336),
])
def test_workloads_of_vendor_files(work, pool, true, padded):
    works = [work] + ([pool] if pool else [])
    assert sum(map(workload, works)) == true
    assert sum(workload_on_arch(part, B4096) for part in works) == padded


# Section 3: "steps per output point on B1152" and the width that no core augments.
@pytest.mark.parametrize(("kernel", "channels", "steps", "augmented"), [
    ((3, 3), 3, 3, True), ((7, 7), 3, 14, True), ((3, 3), 1, 3, True), ((7, 7), 1, 7, True), ((1, 1), 3, 1, False),
    ((1, 1), 1, 1, False), ((11, 11), 3, 121, False), ((3, 3), 12, 9, False), ((3, 3), 8, 6, True),
    ((3, 3), 9, 9, False),
])
def test_augmentation_on_b1152(kernel, channels, steps, augmented):
    work = conv((32, 32, channels), (32, 32, 8), kernel)
    assert is_augmented(work, ZED) == augmented
    assert padded_products(work, ZED) // 12 == steps


def test_augmentation_needs_a_core_that_has_it_and_a_plain_convolution():
    work = conv((32, 32, 3), (32, 32, 8), (3, 3))
    assert not is_augmented(work, B1600)
    assert padded_products(work, B1600) == 90
    assert not is_augmented(dataclasses.replace(work, depthwise=True), ZED)
    assert not is_augmented(conv((224, 224, 3), (55, 55, 96), (11, 11)), B4096)  # 33 lanes of 32


# Section 3: cycles of convolution and dense layers alone.
@pytest.mark.parametrize(("network", "core", "cycles"), [
    (resnet50, ZED, 7_785_008), (resnet50, dataclasses.replace(B1600, channel_augmentation=20), 6_029_097),
    (resnet50, B4096, 2_135_168), (vgg16, ZED, 29_954_214), (vgg16, B4096, 8_428_800),
    (mobilenet_v1, PYNQ, 1_106_812), (mobilenet_v1, B4096, 307_328),
])
def test_array_cycles_of_whole_networks(network, core, cycles):
    works = [work for work in network() if isinstance(work, ConvWork) and not work.depthwise]
    assert sum(conv_cycles(work, core) for work in works) == cycles


@pytest.mark.parametrize(("network", "gop"), [(resnet50, 7.716), (vgg16, 30.94), (mobilenet_v1, 1.137)])
def test_operations_of_whole_networks(network, gop):
    assert sum(2 * work.macs for work in network() if isinstance(work, ConvWork)) / 1e9 == pytest.approx(gop, rel=1e-3)


@pytest.mark.parametrize(("network", "core", "ceiling"), [
    (resnet50, ZED, 0.860), (resnet50, B4096, 0.882), (vgg16, ZED, 0.897), (vgg16, B4096, 0.896)])
def test_lane_rounding_ceilings(network, core, ceiling):
    works = [work for work in network() if isinstance(work, ConvWork)]
    operations = sum(2 * work.macs for work in works)
    peak = sum(conv_cycles(work, core) for work in works) * core.peak_ops_per_cycle
    assert operations / peak == pytest.approx(ceiling, abs=5e-4)


def test_cycles_of_the_other_engines():
    """ceil(OH / PP) * OW * ceil(C / ICP) * cells, with the engine's own PP."""
    work = conv((33, 20, 30), (33, 20, 30), (3, 3), depthwise=True)
    assert compute_cycles(work, PYNQ) == ("dwconv", 17 * 20 * 3 * 9)
    assert compute_cycles(work, B4096) == ("dwconv", 9 * 20 * 2 * 9)
    pool = PoolWork("p", (33, 20, 30), (17, 10, 30), (2, 3), (2, 2))
    assert compute_cycles(pool, ZED) == ("pool", 17 * 10 * 3 * 6)
    assert compute_cycles(pool, B4096) == ("pool", 5 * 10 * 2 * 6)
    add = EltwiseWork("a", (33, 20, 30), (33, 20, 30), operands=3)
    assert compute_cycles(add, ZED) == ("eltwise", 2 * 33 * 20 * 3)
    assert compute_cycles(add, B4096) == ("eltwise", 2 * 9 * 20 * 2)
    assert compute_cycles(MoveWork("m", (1, 1, 4), (1, 1, 4)), ZED) == ("none", 0)


def test_padded_work_of_depthwise_layers_and_pools():
    work = conv((33, 20, 30), (33, 20, 30), (3, 3), depthwise=True)
    assert workload(work) == 33 * 20 * 30 * 19
    assert workload_on_arch(work, PYNQ) == 34 * 20 * 36 * 19
    assert workload(EltwiseWork("a", (1, 1, 1), (1, 1, 1))) == 0
