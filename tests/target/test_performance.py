"""The performance specification's rows and figures, and the published times it is held against."""

from __future__ import annotations

import dataclasses

import pytest

from dpuflow.target.performance import (
    MPSOC,
    ZYNQ_7000,
    Traffic,
    board_timing,
    compute_cycles,
    conv_cycles,
    conv_traffic,
    estimate,
    is_augmented,
    node_traffic,
    nodes_of,
    padded_products,
    serialises,
    tile_count,
    weight_blocks,
    workload,
    workload_on_arch,
)
from dpuflow.target.report import estimate_json, predicted_table
from dpuflow.target.select import find_target
from dpuflow.target.work import ConvWork, EltwiseWork, MoveWork, PoolWork
from target.layer_lists import Layers, alone, mobilenet_v1, resnet50, vgg16

ZED, B1600, B4096 = (find_target(name) for name in ("zedboard", "ultra96", "DPUCZDX8G_ISA1_B4096"))
PYNQ, ZCU102 = find_target("pynq-z2"), find_target("zcu102")


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


# -- traffic ------------------------------------------------------------------------------------------------

def test_traffic_of_a_layer_that_fits():
    work = conv((16, 16, 12), (16, 16, 24), (3, 3), shift_bias=0)
    assert (tile_count(work, ZED), weight_blocks(work, ZED)) == (1, 1)
    assert conv_traffic(work, ZED) == Traffic(16 * 16 * 12 + 24 * (9 * 12 + 1), 16 * 16 * 24)


def test_halo_rows_are_loaded_twice():
    work = conv((64, 128, 12), (64, 128, 12), (3, 3))  # 16 * 128 rows: two strips
    assert tile_count(work, ZED) == 2
    assert conv_traffic(work, ZED).loaded == 64 * 128 * 12 + 2 * 128 * 12 + 12 * 9 * 12
    strided = dataclasses.replace(work, stride=(4, 4))
    assert conv_traffic(strided, ZED).loaded == 64 * 128 * 12 + 12 * 9 * 12


def test_weights_or_features_again_whichever_is_cheaper():
    # 9 * 20 rows a chunk of 12 outputs: 5 chunks in half a bank, 4 blocks; 2 strips.
    work = conv((16, 26, 240), (16, 26, 240), (3, 3))
    assert (tile_count(work, ZED), weight_blocks(work, ZED)) == (3, 4)
    features, weights = 16 * 26 * 240 + 2 * 2 * 26 * 240, 240 * 9 * 240
    assert conv_traffic(work, ZED).loaded == features + weights + 3 * features
    few = conv((1, 1, 3072), (1, 1, 1000), (1, 1))
    assert conv_traffic(few, ZED).loaded == 3072 + 3072 * 1000  # one strip: weights once


def test_deep_kernels_serialise():
    deep = conv((7, 7, 512), (7, 7, 512), (7, 7), pads=(3, 3, 3, 3))  # 49 * 32 = 1568 rows
    assert serialises(deep, B4096)
    assert not serialises(conv((7, 7, 320), (7, 7, 8), (7, 7)), B4096)  # 980 rows


def test_what_a_convolution_absorbs_stays_on_the_chip():
    net = Layers()
    net.add(net.conv((16, 16, 12), 12, 3))
    first, added = net.works
    moved = node_traffic([first, added], ZED)
    size = 16 * 16 * 12
    assert moved == Traffic(conv_traffic(first, ZED).loaded + size, size)
    net = Layers()
    net.pool(net.conv((16, 16, 12), 12, 3), 2, 2)
    assert node_traffic(net.works, ZED) == Traffic(conv_traffic(first, ZED).loaded, 8 * 8 * 12)


# -- time ---------------------------------------------------------------------------------------------------

def test_time_of_one_compute_bound_layer():
    """max of the engines + first and last strip + fixed cost (section 4), by hand."""
    work = conv((32, 32, 48), (32, 32, 48), (3, 3), shift_bias=0)
    array = 8 * 32 * 4 * 36
    strips = 1  # 8 * 32 * 4 rows
    edges = 2 * 32 * 32 * 48 / strips / (16 * 0.75)
    (layer,) = estimate([work], ZED, 90).layers
    assert layer.array_cycles == array
    assert layer.bound == "conv"
    assert layer.cycles == pytest.approx(array / 0.985 + edges + 500 + 4 * 90, abs=1)
    assert layer.ms == pytest.approx(layer.cycles / 90e3, rel=1e-4)
    assert (layer.macs, layer.bytes) == (32 * 32 * 48 * 432, 2 * 32 * 32 * 48 + 48 * 433)


@pytest.mark.parametrize(("work", "bound"), [
    (conv((1, 1, 2048), (1, 1, 1000), (1, 1)), "ddr"),  # 2.6 GB/s is less than 12 bytes * 90 MHz * ... at 200 MHz
    (conv((8, 8, 12), (8, 8, 12), (3, 3)), "fixed cost"),
    (conv((56, 56, 64), (56, 56, 64), (3, 3)), "conv"),
    (PoolWork("p", (56, 56, 64), (28, 28, 64), (3, 3), (2, 2)), "pool"),
    (EltwiseWork("e", (56, 56, 64), (56, 56, 64)), "load"),
])
def test_what_bounds_a_layer(work, bound):
    clock = 300 if bound == "ddr" else 90
    assert estimate([work], ZED, clock).layers[0].bound == bound


def test_eltwise_time_is_added_to_its_convolution():
    net = Layers()
    x = net.add(net.conv((56, 56, 48), 48, 3))
    both, single = estimate(net.works, ZED, 90), estimate(net.works[:1], ZED, 90)
    extra = (both.total_ms - single.total_ms) * 90e3
    assert extra == pytest.approx(56 * 56 * 4, abs=2)
    assert [layer.ms > 0 for layer in both.layers] == [True, False]
    assert both.layers[1].array_cycles == 56 * 56 * 4
    assert x == (56, 56, 48)


def test_a_pool_hides_behind_its_convolution():
    net = Layers()
    net.pool(net.conv((32, 32, 48), 48, 3), 2, 2)
    absorbed, apart = estimate(net.works, ZED), estimate(alone(net.works), ZED)
    assert absorbed.total_ms < apart.total_ms


def test_nodes_of_mobilenet_v1():
    """Section 4: MobileNetV1 becomes 15 nodes."""
    nodes = nodes_of(mobilenet_v1())
    assert len(nodes) == 15
    assert sum(map(len, nodes)) == len(mobilenet_v1())


def test_layers_of_one_name_keep_their_own_rows():
    work = conv((8, 8, 12), (8, 8, 12), (3, 3))
    result = estimate([work, work], ZED)
    assert len(result.layers) == 2
    assert result.total_ms == pytest.approx(2 * estimate([work], ZED).total_ms)


def test_a_move_takes_no_time():
    result = estimate([MoveWork("m", (1, 1, 4), (1, 1, 4))], ZED)
    assert (result.total_ms, result.fps, result.layers[0].bound) == (0.0, 0.0, "placement")


def test_boards():
    assert [board_timing(core) for core in (ZED, PYNQ, B1600, B4096)] == [ZYNQ_7000, ZYNQ_7000, MPSOC, MPSOC]
    assert estimate([], ZED).clock_mhz == 90
    assert estimate([], ZED, 120).clock_mhz == 120


# Section 5: published whole-network times, one core each. Tolerance: the goal of 15 % (relative error).
POINTS = [
    ("ResNet50 ZedBoard", resnet50, ZED, 90, 100.915),
    ("ResNet50 KV260", resnet50, B4096, 300, 12.97),
    ("VGG16 KV260", vgg16, B4096, 300, 51.3),
    ("MobileNetV1 KV260", mobilenet_v1, B4096, 300, 2.58),
    ("ResNet50 Ultra96", resnet50, B1600, 287, 29.88),
]
# Node facts of section 5 (ZCU102, 281 MHz): a weights-only layer, and one whose weights serialise.
NODES = [
    ("weights only", conv((1, 1, 9216), (1, 1, 4096), (1, 1)), 7.485),
    ("deep kernel", conv((7, 7, 512), (7, 7, 512), (7, 7), pads=(3, 3, 3, 3)), 4.09),
]


@pytest.mark.parametrize(("name", "network", "core", "clock", "measured"), POINTS, ids=[row[0] for row in POINTS])
def test_published_networks(name, network, core, clock, measured):
    predicted = estimate(network(), core, clock).total_ms
    print(f"{name}: predicted {predicted:.3f} ms, published {measured} ms, {100 * (predicted / measured - 1):+.1f} %")
    assert predicted == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize(("name", "work", "measured"), NODES, ids=[row[0] for row in NODES])
def test_published_nodes(name, work, measured):
    predicted = estimate([work], ZCU102, 281).total_ms
    print(f"{name}: predicted {predicted:.3f} ms, published {measured} ms, {100 * (predicted / measured - 1):+.1f} %")
    assert predicted == pytest.approx(measured, rel=0.15)


def test_vgg_convolutions_hide_their_loads():
    """Node fact 1: 98.5 % of the padded array time."""
    (layer,) = estimate([conv((56, 56, 256), (56, 56, 256), (3, 3), pads=(1, 1, 1, 1))], ZCU102, 281).layers
    assert layer.bound == "conv"
    assert layer.array_cycles / layer.cycles > 0.90


def test_report_of_an_estimate():
    result = estimate([conv((8, 8, 12), (8, 8, 12), (3, 3))], ZED)
    fields = estimate_json(result, ZED)
    assert (fields["target"], fields["core"], fields["clock_mhz"]) == ("zedboard", "B1152", 90.0)
    assert fields["layers"][0]["bound"] == "fixed cost"
    assert fields["total_ms"] == pytest.approx(result.total_ms)
    text = predicted_table(fields)
    assert "predicted, not run on hardware: zedboard (B1152) at 90 MHz" in text
    assert "+-10 % compute-bound" in text
