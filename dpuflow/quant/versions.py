"""What the releases of the vendor's quantizer do differently (quantizer specification, section 13).

Where DNNDK's behaviour is unknown it follows the oldest public release, 1.2.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Version:
    """One release: what it writes and which steps it takes."""

    writes_output_dir: bool  # FixNeuron attribute output_dir
    writes_type: bool  # FixNeuron attribute T
    scalar_pool_scale: bool  # shape () of <pool>/scale_value, else (1,)
    scales_all_pools: bool  # every average pool, else the five kernels of the early releases
    folds_before_simulating: bool  # batch normalisation before simulate_dpu
    mean_without_dims: bool  # Mean without kept dimensions becomes AvgPool and Squeeze
    aligns_pools: bool  # knows --align_pool, and aligns by default
    deploys: bool  # writes deploy_model.pb


# name: FixNeuron's output_dir, T; pool scale scalar, all pools; order, mean; pool alignment; deploy file.
VERSIONS: dict[str, Version] = {
    "dnndk": Version(False, False, True, False, False, False, False, True),
    "1.2": Version(True, False, True, False, False, False, False, True),
    "1.3": Version(True, False, False, False, False, False, False, True),
    "1.4": Version(True, False, False, True, False, False, False, False),
    "2.x": Version(True, True, False, True, True, False, False, False),
    "3.x": Version(True, True, False, True, True, True, True, False),
}
DEFAULT_VERSION = "dnndk"
