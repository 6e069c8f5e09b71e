"""Every hardware limit: kept at its edge, broken one step beyond, under its own name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dpuflow.target import limits
from dpuflow.target.limits import LIMITS, REMEDIES, violations
from dpuflow.target.select import find_target
from dpuflow.target.work import ActivationWork, ConvWork, EltwiseWork, LayerWork, MoveWork, PoolWork, UpsampleWork

ZED, MIN, ISA1 = (find_target(name) for name in ("zedboard", "DPUCZDX8G_ISA0_B512_MIN", "DPUCZDX8G_ISA1_B4096"))
MAX, PYNQ = find_target("DPUCZDX8G_ISA0_B1152_MAX"), find_target("pynq-z2")


def conv(**changes: Any) -> ConvWork:
    plain = ConvWork("layer", (32, 32, 12), (32, 32, 12), (3, 3), pads=(1, 1, 1, 1), shift_cut=5, shift_bias=3)
    return dataclasses.replace(plain, **changes)


def depthwise(**changes: Any) -> ConvWork:
    return conv(depthwise=True, **changes)


def transposed(**changes: Any) -> ConvWork:
    return conv(**{"transposed": True, "pads": (0,) * 4, **changes})


def pool(**changes: Any) -> PoolWork:
    return dataclasses.replace(PoolWork("pool", (32, 32, 12), (16, 16, 12), (2, 2), (2, 2)), **changes)


def eltwise(**changes: Any) -> EltwiseWork:
    return dataclasses.replace(EltwiseWork("sum", (8, 8, 4), (8, 8, 4)), **changes)


# limit -> pairs of (kept, broken) works on a core (targets specification, section 2).
CASES: dict[str, list[tuple[LayerWork, LayerWork, Any]]] = {
    "limit_conv_kernel": [
        (conv(kernel=(16, 16), pads=(0,) * 4), conv(kernel=(17, 1), pads=(0,) * 4), ZED),
        (conv(kernel=(1, 16), pads=(0,) * 4), conv(kernel=(1, 17), pads=(0,) * 4), ISA1),
        (depthwise(kernel=(16, 1), pads=(0,) * 4), depthwise(kernel=(17, 1), pads=(0,) * 4), PYNQ),
        (depthwise(kernel=(8, 256), pads=(0,) * 4), depthwise(kernel=(1, 257), pads=(0,) * 4), ISA1),
    ],
    "limit_conv_stride": [(conv(stride=(8, 8)), conv(stride=(9, 1)), ZED), (conv(), conv(stride=(1, 9)), ISA1),
                          (depthwise(stride=(8, 1)), depthwise(stride=(9, 1)), PYNQ),
                          (depthwise(stride=(1, 256)), depthwise(stride=(1, 257)), ISA1)],
    "limit_dilation": [  # 256 * 12 = 3072
        (conv(dilation=(4, 1), input=(32, 32, 768)), conv(dilation=(4, 1), input=(32, 32, 769)), ZED),
        (conv(kernel=(1, 1), pads=(0,) * 4, input=(1, 1, 3072)),
         conv(kernel=(1, 1), pads=(0,) * 4, input=(1, 1, 3073)), ZED),
    ],
    "limit_weight_depth": [  # 16 * 16 * ceil(96 / 12) = 2048
        (conv(kernel=(16, 16), input=(32, 32, 96)), conv(kernel=(16, 16), input=(32, 32, 97)), ZED)],
    "limit_output_channels": [(conv(output=(1, 1, 3072)), conv(output=(1, 1, 3073)), ZED),
                              (conv(output=(1, 1, 4096)), conv(output=(1, 1, 4097)), ISA1)],
    "limit_conv_padding": [
        (conv(pads=(2, 2, 2, 2)), conv(pads=(3, 0, 0, 0)), ZED),
        (conv(pads=(2, 2, 2, 2)), conv(pads=(0, 0, 0, 3)), ZED),
        (conv(dilation=(2, 1), pads=(4, 0, 0, 0)), conv(dilation=(2, 1), pads=(0, 0, 4, 0)), ZED),
    ],
    "limit_depthwise_padding": [
        (depthwise(kernel=(17, 17), pads=(15, 16, 15, 16)), depthwise(kernel=(17, 17), pads=(16, 15, 15, 15)), ISA1)],
    "limit_depthwise": [(conv(), depthwise(), ZED), (depthwise(), depthwise(), MIN)],
    "limit_depthwise_multiplier": [(depthwise(), depthwise(multiplier=2), PYNQ)],
    "limit_transposed_kernel": [  # 1 <= kernel / stride <= 16
        (transposed(kernel=(32, 2), stride=(2, 2)), transposed(kernel=(33, 2), stride=(2, 2)), ZED),
        (transposed(kernel=(2, 3), stride=(2, 3)), transposed(kernel=(2, 2), stride=(2, 3)), ZED),
    ],
    "limit_transposed_output": [  # 32 rows of stride 2 under a kernel of 3: 65, less what is cut off above and left
        (transposed(stride=(2, 2), output=(65, 65, 12)), transposed(stride=(2, 2), output=(66, 65, 12)), ZED),
        (transposed(stride=(2, 2), output=(64, 64, 12), pads=(1, 0, 1, 0)),
         transposed(stride=(2, 2), output=(64, 65, 12), pads=(1, 0, 1, 0)), ISA1)],
    "limit_upsample_position": [(UpsampleWork("u", (8, 8, 4), (16, 16, 4)),
                                 UpsampleWork("u", (8, 8, 4), (16, 16, 4), positions_equal=False), ZED)],
    "limit_output_row_stride": [
        (transposed(kernel=(4, 8), stride=(4, 8)), transposed(kernel=(5, 5), stride=(5, 5)), ISA1),
    ],
    "limit_activation": [(ActivationWork("a", (8, 8, 4), (8, 8, 4)), ActivationWork("a", (8, 8, 4), (8, 8, 4)), ISA1)],
    "limit_groups": [(conv(), conv(groups=2), ISA1)],
    "limit_conv_nonlinear": [
        (conv(nonlinear="relu6"), conv(nonlinear="leaky_relu"), ZED),
        (conv(nonlinear="leaky_relu"), conv(nonlinear="hard_sigmoid"), PYNQ),
        (depthwise(nonlinear="relu6"), depthwise(nonlinear="leaky_relu"), MAX),
        (depthwise(nonlinear="relu"), depthwise(nonlinear="leaky_relu"), ISA1),
    ],
    "limit_shift_cut": [(conv(shift_cut=0, shift_bias=None), conv(shift_cut=-1, shift_bias=None), ZED),
                        (conv(shift_cut=16), conv(shift_cut=17), ZED),
                        (conv(shift_cut=16, shift_bias=0), conv(shift_cut=17, shift_bias=0), ZED)],
    "limit_shift_bias": [  # arithmetic specification, section 8: cut 0 -> -16, 4 -> -12, 16 -> 0
        (conv(shift_cut=0, shift_bias=-16), conv(shift_cut=0, shift_bias=-17), ZED),
        (conv(shift_cut=4, shift_bias=-12), conv(shift_cut=4, shift_bias=-13), ZED),
        (conv(shift_cut=16, shift_bias=0), conv(shift_cut=16, shift_bias=-1), ZED),
        (conv(shift_bias=16), conv(shift_bias=17), ZED),
    ],
    "limit_pool_kernel": [
        (pool(kernel=(8, 8)), pool(kernel=(9, 2)), ZED), (pool(kernel=(1, 1)), pool(kernel=(2, 9)), ZED),
        (pool(kind="avg"), pool(kind="avg", kernel=(1, 2)), ZED),
        (pool(kernel=(256, 256)), pool(kernel=(257, 1)), ISA1),
    ],
    "limit_pool_stride": [(pool(stride=(8, 8)), pool(stride=(9, 1)), ZED),
                          (pool(stride=(256, 256)), pool(stride=(1, 257)), ISA1)],
    "limit_pool_padding": [
        (pool(pads=(1, 1, 1, 1)), pool(pads=(2, 0, 0, 0)), ZED), (pool(), pool(pads=(0, 0, 0, 2)), ZED),
        (pool(kernel=(17, 17), pads=(15, 16, 15, 16)), pool(kernel=(17, 17), pads=(0, 0, 16, 0)), ISA1),
    ],
    "limit_average_pool": [(pool(kind="max"), pool(kind="avg"), MIN), (pool(kind="avg"), pool(kind="avg"), MIN)],
    "limit_eltwise_kind": [(eltwise(), eltwise(kind="mul"), ZED)],
    "limit_eltwise_nonlinear": [(eltwise(nonlinear="relu"), eltwise(nonlinear="relu6"), ISA1)],
    "limit_eltwise_shifts": [
        (eltwise(shift_read=15), eltwise(shift_read=16), ZED),
        (eltwise(shift_write=15), eltwise(shift_write=16), ZED),
        (eltwise(shift_write=-15), eltwise(shift_write=-16), ZED),
    ],
    "limit_move_positions": [(MoveWork("m", (1, 1, 4), (1, 1, 4)), MoveWork("m", (1, 1, 4), (1, 1, 4), False), ZED)],
}
ALL = [limit for group in LIMITS.values() for limit in group]


def broken(work: LayerWork, core: Any) -> set[str]:
    return {violation.limit for violation in violations(work, core)}


@pytest.mark.parametrize("name", sorted(CASES))
def test_limit(name):
    for kept, beyond, core in CASES[name]:
        if kept != beyond and not isinstance(kept, ActivationWork):
            assert name not in broken(kept, core), f"{kept} on {core.name}"
        assert broken(beyond, core) == {name}, f"{beyond} on {core.name}"


def test_every_limit_has_a_test_a_remedy_and_a_sentence():
    names = {limit.__name__ for limit in ALL}
    assert names == set(CASES) == set(REMEDIES)
    assert names == {name for name in vars(limits) if name.startswith("limit_")}
    for limit in ALL:
        assert (limit.__doc__ or "").endswith(".")


def test_a_violation_reads_as_a_sentence_with_its_numbers():
    (violation,) = violations(conv(stride=(9, 1)), ZED)
    assert str(violation) == ("The stride of a convolution must lie within the engine's range "
                              "(vertical stride 9, allowed 1 to 8)")
    assert violation.remedy == "use a smaller stride followed by a pool"


def test_a_layer_may_break_several_limits():
    work = depthwise(kernel=(17, 3), pads=(0,) * 4, nonlinear="leaky_relu")
    assert broken(work, ZED) == {"limit_depthwise", "limit_conv_kernel", "limit_conv_nonlinear"}
