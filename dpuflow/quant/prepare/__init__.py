"""What happens to a float graph before FixNeurons go in: one step a file, the order in one tuple.

Quantizer specification, sections 3.2 and 3.3. From release 2.x on the DPU's behaviour is put in
after batch normalisation is folded.
"""

from __future__ import annotations

from collections.abc import Callable

from dpuflow.formats.graphdef import TFGraph
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.prepare.expand_batch_norm import expand_batch_norm
from dpuflow.quant.prepare.fold_batch_norm import fold_batch_norm
from dpuflow.quant.prepare.fold_constants import fold_constants
from dpuflow.quant.prepare.fold_mul import fold_mul
from dpuflow.quant.prepare.mean_to_average_pool import mean_to_average_pool
from dpuflow.quant.prepare.remove_identities import remove_identities
from dpuflow.quant.prepare.scale_average_pools import scale_average_pools
from dpuflow.quant.prepare.set_leaky_slope import set_leaky_slope
from dpuflow.quant.prepare.split_shared_constants import split_shared_constants

Step = Callable[[TFGraph, QuantizeConfig], TFGraph]

_CLEAN: tuple[Step, ...] = (remove_identities, split_shared_constants)
SIMULATE: tuple[Step, ...] = (mean_to_average_pool, scale_average_pools, set_leaky_slope)
_FOLD: tuple[Step, ...] = (fold_constants, expand_batch_norm, fold_batch_norm, fold_mul)

OPTIMISE: tuple[Step, ...] = (*_CLEAN, *SIMULATE, *_FOLD)
OPTIMISE_FOLDING_FIRST: tuple[Step, ...] = (*_CLEAN, *_FOLD, *SIMULATE)

# The names of the vendor's debug files, by the step after which each is written.
DEBUG_FILES = {
    "remove_identities": "remove_nodes", "split_shared_constants": "separate_shared_constants",
    "set_leaky_slope": "simulate_dpu", "fold_constants": "fold_constants",
    "expand_batch_norm": "update_old_batchnorms", "fold_batch_norm": "fold_batchnorms", "fold_mul": "fold_convmul",
}


def steps_of(config: QuantizeConfig) -> tuple[Step, ...]:
    """The steps of the configured release, in order."""
    return OPTIMISE_FOLDING_FIRST if config.release.folds_before_simulating else OPTIMISE
