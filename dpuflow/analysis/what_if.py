"""Other widths, 2 to 8 bits, in simulation: what a DPU that does not exist would give."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dpuflow.analysis.layer_cost import Batches, Closeness, closeness, float_outputs
from dpuflow.analysis.layers import find_layers
from dpuflow.analysis.simulation import Simulation
from dpuflow.calibration.accuracy import Measure
from dpuflow.errors import ConfigError
from dpuflow.formats.graphdef import TFGraph
from dpuflow.quant.adjust import adjust_positions
from dpuflow.quant.calibrate import Batches as CalibrationBatches
from dpuflow.quant.calibrate import calibrate
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.quantizer import prepare, with_positions

WIDTHS = range(2, 9)


@dataclass(frozen=True)
class Widths:
    """What one ``--what-if`` asks for: bits of weights, of activations, and of single layers."""

    text: str
    weights: int = 8
    activations: int = 8
    layers: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The simulated result of some widths; never runnable on the DPU unless all are 8."""

    widths: Widths
    accuracy: float | None
    closeness: Closeness

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        runnable = self.widths.weights == self.widths.activations == 8 and all(b == 8 for _, b in self.widths.layers)
        return {"widths": self.widths.text, "weights": self.widths.weights, "activations": self.widths.activations,
                "layers": dict(self.widths.layers), "accuracy": self.accuracy, **self.closeness.as_json(),
                "runnable_on_dpu": runnable, "note": "simulated, vendor's rule"
                if runnable else "simulated, vendor's rule; not runnable on the DPU, which computes with 8 bits"}


def parse_widths(text: str) -> Widths:
    """``weights=4,activations=8,conv3=6`` as widths; ConfigError for anything else."""
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, bits = part.rpartition("=")
        if not separator or not bits.strip().isdigit() or int(bits) not in WIDTHS or not name.strip():
            raise ConfigError("not a width", where="--what-if", got=part,
                              expected=f"name=bits with {WIDTHS[0]} to {WIDTHS[-1]} bits, as weights=4,conv3=6")
        found[name.strip()] = int(bits)
    if not found:
        raise ConfigError("no width is given", where="--what-if", expected="as weights=4,activations=8")
    layers = tuple((name, bits) for name, bits in found.items() if name not in ("weights", "activations"))
    return Widths(text, found.get("weights", 8), found.get("activations", 8), layers)


def node_bits(evaluation: TFGraph, widths: Widths) -> tuple[tuple[str, int], ...]:
    """The widths of single layers by tensor: a layer's weights, bias and output; ConfigError for unknown names."""
    layers = {layer.name: layer for layer in find_layers(evaluation)}
    found = []
    for name, bits in widths.layers:
        layer = layers.get(name) or _only_match(name, layers)
        found += [(fix.rpartition("/")[0], bits) for fix in layer.fixes]
    return tuple(found)


def _only_match(name: str, layers: Mapping[str, Any]) -> Any:
    """The layer that a part of its name means, as conv3 means net/conv3/Conv2D."""
    matches = [full for full in layers if name in full.split("/") or full.endswith("/" + name)]
    if len(matches) == 1:
        return layers[matches[0]]
    close = matches[:3] or difflib.get_close_matches(name, layers, n=3, cutoff=0.3)
    raise ConfigError("several layers fit this name" if matches else "no layer has this name", where="--what-if",
                      got=name, remedy=f"did you mean {' or '.join(close)}?" if close else
                      f"the layers are {', '.join(list(layers)[:8])}")


def what_if(graph: TFGraph, config: QuantizeConfig, widths: Widths, calibration: CalibrationBatches,
            batches: Batches, measure: Measure | None = None) -> Outcome:
    """Quantize with these widths by the vendor's rule and compare with float."""
    plain = prepare(graph, config).graph
    changed = replace(config, weight_bit=widths.weights, activation_bit=widths.activations,
                      nodes_bit=(*config.nodes_bit, *node_bits(plain, widths)))
    prepared = prepare(graph, changed)
    names = [fix.name for fix in prepared.placement.fixes.values()]
    positions = calibrate(prepared.graph, names, changed.shapes, calibration, changed.activation_rounding)
    positions = adjust_positions(prepared.graph, prepared.placement.groups, positions, changed)
    simulation = Simulation(with_positions(prepared.graph, positions), changed)
    near = closeness(simulation, batches, float_outputs(simulation, batches))
    return Outcome(widths, measure(simulation.runner()) if measure else None, near)


def all_what_ifs(graph: TFGraph, config: QuantizeConfig, wanted: Sequence[Widths], calibration: CalibrationBatches,
                 batches: Batches, measure: Measure | None = None) -> list[Outcome]:
    """One outcome for each."""
    return [what_if(graph, config, widths, calibration, batches, measure) for widths in wanted]
