"""Every named target against the published descriptions (skipped where those are not at hand).

DPUFLOW_SPEC names the folder of ``targets.toml``, which is no part of the project.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dpuflow.target.arch import Core
from dpuflow.target.fingerprint import decode_fingerprint
from dpuflow.target.select import find_target
from dpuflow.target.table import BOARDS, named_targets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPEC = os.environ.get("DPUFLOW_SPEC")
pytestmark = pytest.mark.skipif(not SPEC, reason="DPUFLOW_SPEC is not set")


def described():
    if not SPEC:
        return {"target": [], "core": []}
    return tomllib.loads((Path(SPEC) / "targets.toml").read_text(encoding="utf-8"))


TARGETS = described()["target"]
CORES = described()["core"]


def common_fields(row):
    conv, eltwise = row["conv"], row["eltwise"]
    same = ("isa", "peak_ops_per_cycle", "pixel_parallel", "input_channel_parallel", "output_channel_parallel",
            "image_bank_groups", "channel_augmentation")
    return {key: row[key] for key in same} | {
        "fingerprint": int(row["fingerprint"], 16), "bank_depth": row["bank_groups"][0]["depth"],
        "conv_kernel": tuple(conv["kernel"]), "conv_stride": tuple(conv["stride"]),
        "conv_nonlinears": tuple(conv["nonlinear"]), "eltwise_types": tuple(eltwise["types"]),
        "eltwise_pixel_parallel": eltwise["pixel_parallel"], "mean_reduction": row["load"]["mean_reduction"],
        "argmax": row["save"]["argmax"],
    }


def isa0_fields(row):
    pool, dwconv = row["pool"], row.get("dwconv")
    fields = {
        "pool_pixel_parallel": pool["pixel_parallel"], "average_pool": "avg" in pool["types"],
        "max_reduce": "max_reduce" in pool["types"], "max_pool_kernel": tuple(pool["max_kernel"]),
        "max_pool_stride": tuple(pool["max_stride"]),
        "dwconv_pixel_parallel": dwconv["pixel_parallel"] if dwconv else 0,
    }
    if "avg" in pool["types"]:
        fields |= {"average_pool_kernel": tuple(pool["avg_kernel"]), "average_pool_stride": tuple(pool["avg_stride"])}
    if dwconv:
        fields |= {"dwconv_kernel": tuple(dwconv["kernel"]), "dwconv_stride": tuple(dwconv["stride"])}
    return fields


def isa1_fields(row):
    alu = row["alu"]
    kernels = ("max_pool_kernel", "average_pool_kernel", "dwconv_kernel")
    strides = ("max_pool_stride", "average_pool_stride", "dwconv_stride")
    return (dict.fromkeys(kernels, tuple(alu["kernel"])) | dict.fromkeys(strides, tuple(alu["stride"]))
            | dict.fromkeys(("pool_pixel_parallel", "dwconv_pixel_parallel"), alu["pixel_parallel"])
            | {"average_pool": "avg_pool" in alu["types"], "max_reduce": "max_reduce" in alu["types"]})


def expected(row):
    return common_fields(row) | (isa0_fields(row) if row["isa"] == 0 else isa1_fields(row))


def found(core: Core, fields):
    return {key: getattr(core, key) for key in fields}


def test_all_published_targets_are_named_and_no_other():
    assert len(TARGETS) == 28
    assert {row["name"] for row in TARGETS} == set(named_targets()) - set(BOARDS)


@pytest.mark.parametrize("row", TARGETS, ids=lambda row: row["name"])
def test_a_target_is_what_its_description_says(row):
    fields = expected(row)
    assert found(find_target(row["name"]), fields) == fields


@pytest.mark.parametrize("row", TARGETS, ids=lambda row: row["name"])
def test_the_fingerprint_alone_gives_the_same_core(row):
    fields = expected(row)
    assert found(decode_fingerprint(int(row["fingerprint"], 16)), fields) == fields
    assert find_target(row["fingerprint"]).name == row["name"]


@pytest.mark.parametrize("row", TARGETS, ids=lambda row: row["name"])
def test_bank_geometry_follows_from_the_core(row):
    """Image groups of PP banks, weights in OCP banks, each ICP wide and of one depth."""
    core = find_target(row["name"])
    image = [group for group in row["bank_groups"] if group["kind"] == "image"]
    (weights,) = (group for group in row["bank_groups"] if group["name"] == "CONVW")
    assert [group["num"] for group in image] == [core.pixel_parallel] * core.image_bank_groups
    assert weights["num"] == core.output_channel_parallel
    shapes = {(group["width"], group["depth"]) for group in row["bank_groups"]}
    assert shapes == {(core.input_channel_parallel, core.bank_depth)}


@pytest.mark.parametrize("row", CORES, ids=lambda row: row["board"])
def test_a_board_is_what_its_configuration_says(row):
    core = find_target(row["board"].lower())
    same = ("peak_ops_per_cycle", "image_bank_groups", "pixel_parallel", "input_channel_parallel",
            "output_channel_parallel", "pool_pixel_parallel", "dwconv_pixel_parallel", "eltwise_pixel_parallel",
            "conv_write_parallel")
    assert found(core, same) == {key: row[key] for key in same}
    assert core.fingerprint == int(row["isa0_fingerprint"], 16)
    assert core.board == row["board"]
    assert core.bank_depth == row["ram_depth"]
    assert core.average_pool is row["avg_pool"]
    assert core.average_pool_kernel == (row["avg_pool_kernels"][0], row["avg_pool_kernels"][-1])
    assert core.channel_augmentation == 2 * row["input_channel_parallel"] * row["channel_augmentation"]
    assert ("leaky_relu" in core.conv_nonlinears) is row["conv_leaky_relu"]
    assert ("relu6" in core.conv_nonlinears) is row["conv_relu6"]


def test_all_boards_are_described():
    assert {row["board"].lower() for row in CORES} == set(BOARDS)
