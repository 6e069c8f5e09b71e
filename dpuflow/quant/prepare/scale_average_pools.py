"""An AvgPool is followed by the DPU's factor (quantizer specification, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dpuflow.errors import UnsupportedOp
from dpuflow.formats.graphdef import TFGraph, TFNode, const_node, new_node
from dpuflow.formats.tf_values import FLOAT
from dpuflow.ops.pool import average_factor
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.patterns import ANY, op
from dpuflow.quant.rewrite import Edit, replace_matches

_POOL = op("pool", "AvgPool", ANY)
_EARLY_KERNELS = frozenset({(3, 3), (5, 5), (6, 6), (7, 7), (14, 14)})  # what releases before 1.4 scale
_LARGEST_KERNEL = 256


def _kernel(pool: TFNode) -> tuple[int, int]:
    if pool.get("data_format", b"NHWC") != b"NHWC":
        raise UnsupportedOp("unsupported data_format", where=f"node '{pool.name}' (AvgPool)", expected="NHWC",
                            remedy="freeze the model in NHWC")
    ksize = pool.get("ksize", (1, 1, 1, 1))
    return (int(ksize[1]), int(ksize[2])) if len(ksize) == 4 else (1, 1)


def _is_scaled(kernel: tuple[int, int], config: QuantizeConfig) -> bool:
    if config.scales_all_pools:
        return min(kernel) >= 1 and max(kernel) <= _LARGEST_KERNEL
    return kernel in _EARLY_KERNELS


def scale_average_pools(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """``<pool>/mul`` by ``<pool>/scale_value`` = kh * kw * N / 2**M; the pool's readers move to it."""
    if not config.simulate_dpu:
        return graph
    shape = () if config.release.scalar_pool_scale else (1,)

    def replace(graph: TFGraph, roles: Mapping[str, str]) -> Edit | None:
        pool, x = graph.node(roles["pool"]), graph.node(roles["input"])
        kernel = _kernel(pool)
        if not _is_scaled(kernel, config):
            return Edit((x, pool))
        n, m = average_factor(kernel)
        scale = const_node(f"{pool.name}/scale_value", np.full(shape, kernel[0] * kernel[1] * n / 2.0**m, np.float32))
        mul = new_node(f"{pool.name}/mul", "Mul", (pool.name, scale.name), T=FLOAT)
        return Edit((x, pool, scale, mul), {pool.name: mul.name}, (mul.name,))

    return replace_matches(graph, _POOL, replace)[0]
