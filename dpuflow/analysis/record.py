"""Everything that is known about one quantization, as JSON values: what ``--json`` and ``--report`` show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dpuflow.analysis.bias_modes import bias_differences
from dpuflow.analysis.layer_cost import Batches, Closeness, LayerCost, closeness, float_outputs, layer_costs
from dpuflow.analysis.layers import Layer, find_layers
from dpuflow.analysis.moves import Probe, probe_layer
from dpuflow.analysis.remedies import NONE_NEEDED, Symptoms, remedies
from dpuflow.analysis.simulation import Simulation
from dpuflow.analysis.tensors import channel_spread, tensor_statistics
from dpuflow.calibration.accuracy import Measure
from dpuflow.calibration.batches import CalibrationSet
from dpuflow.ir.graph import Array, Node
from dpuflow.model import model_from_tf
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.quantizer import Quantized

FORMAT, VERSION = "dpuflow quantization", 1
NOTE = "simulated and emulated on this computer, not run on hardware"
PROBED = 5  # layers that are looked at tensor by tensor
FEWEST_IMAGES, MOST_IMAGES = 4, 256
BUDGET_PRODUCTS = 10**12  # multiplications that the measurements may take: minutes on one core
MOST_VALUES = 1 << 25  # of all tensors of one batch together: 128 MB
MEASURED = "accuracy won when this layer alone stays in float (measured with --evaluate)"
DIVERGED = ("share of the output's noise power that goes when this layer alone stays in float (no --evaluate was "
            "given: divergence from the float network's output, not accuracy)")

Observe = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Analysis:
    """The measured part of the record."""

    whole: Closeness
    tensors: list[dict[str, Any]]
    layers: list[dict[str, Any]]
    bias_modes: list[dict[str, Any]]
    batches: list[Mapping[str, Array]]


def affordable_images(simulation: Simulation, layers: int) -> int:
    """How many images are measured on by default: by the network's size alone, so that every run takes the same."""
    products = sum(_products(simulation, node) for node in simulation.network.nodes)
    runs = layers + 6 * PROBED
    return max(FEWEST_IMAGES, min(MOST_IMAGES, BUDGET_PRODUCTS // max(products * runs, 1)))


def _products(simulation: Simulation, node: Node) -> int:
    """Multiplications of a convolution or dense layer for one image."""
    shapes = [simulation.network.by_name[name].shape for name in node.inputs]
    if len(shapes) < 2 or node.op not in ("conv2d", "depthwise_conv2d", "dense"):
        return 0
    window = shapes[1][:-1] if node.op != "depthwise_conv2d" else shapes[1][:2]
    return math.prod(node.shape) * math.prod(window)


def small_batches(data: CalibrationSet, images: int, per_image: int) -> list[Mapping[str, Array]]:
    """The first images in batches so small that all tensors of one fit in memory."""
    size = max(1, min(64, MOST_VALUES // max(per_image, 1)))
    return [part for batch in data.head(images) for part in _split(batch, size)]


def _split(batch: Mapping[str, Array], size: int) -> Iterator[Mapping[str, Array]]:
    count = min(len(array) for array in batch.values())
    for at in range(0, count, size):
        yield {name: array[at:at + size] for name, array in batch.items()}


def analyse(quantized: Quantized, config: QuantizeConfig, data: CalibrationSet, images: int | None = None,
            measure: Measure | None = None, observe: Observe = lambda what, done, total: None) -> Analysis:
    """Tensors, the cost of every layer and the bias modes of a quantized network, on the first images.

    ``images``: how many; None: as many as :func:`affordable_images` allows.
    """
    simulation = Simulation(quantized.evaluation, config)
    per_image = sum(math.prod(simulation.network.by_name[name].shape) for name in simulation.fixes
                    if name not in simulation.constants)
    layers = find_layers(quantized.evaluation)
    batches = small_batches(data, images or affordable_images(simulation, len(layers)), per_image)
    tensors = [found.as_json() for found in tensor_statistics(simulation, batches)]
    whole, costs = layer_costs(simulation, layers, batches, measure,
                               lambda done: observe("layers", done, len(layers)))
    probes = _probes(simulation, costs[:PROBED], batches, whole)
    graph = model_from_tf(quantized.evaluation, "quantized", config.shapes).graph
    modes = [found.as_json() for found in bias_differences(graph, batches)]
    by_name = {tensor["name"]: tensor for tensor in tensors}
    rows = [layer_record(cost, simulation, by_name, probes.get(cost.layer.name)) for cost in costs]
    return Analysis(whole, tensors, rows, modes, batches)


def _probes(simulation: Simulation, costs: Sequence[LayerCost], batches: Batches, whole: Closeness) -> dict[str, Probe]:
    """The dearest layers looked at tensor by tensor, on fewer images."""
    if not whole.noise:
        return {}
    few = list(batches[:max(1, len(batches) // 2)])
    exact = float_outputs(simulation, few)
    near = closeness(simulation, few, exact)
    return {cost.layer.name: probe_layer(simulation, cost.layer, few, exact, near) for cost in costs}


def layer_record(cost: LayerCost, simulation: Simulation, tensors: Mapping[str, Mapping[str, Any]],
                 probe: Probe | None) -> dict[str, Any]:
    """One layer: its cost, its tensors by name, what would help."""
    layer = cost.layer
    own = [tensors[name] for fix in layer.fixes if (name := fix.rpartition("/")[0]) in tensors]
    weights = next((tensor for tensor in own if tensor["kind"] == "weights"), None)
    spread, depthwise = _spread(layer, simulation, weights)
    symptoms = Symptoms(weights, next((tensor for tensor in own if tensor["kind"] == "bias"), None),
                        next((tensor for tensor in own if tensor["kind"] == "activation"), None), spread, depthwise)
    found = remedies(symptoms, cost.cost > (0.0005 if cost.accuracy is not None else 0.01))
    if probe is not None and probe.move is not None:
        found = [str(probe.move), *(text for text in found if text != NONE_NEEDED)]
    return {"name": layer.name, "op": layer.op, "tensors": [tensor["name"] for tensor in own], "cost": cost.cost,
            "noise_share": cost.noise_share, "accuracy_in_float": cost.accuracy,
            "in_float": cost.closeness.as_json(), "channel_spread": spread,
            "remedies": found, **(probe.as_json() if probe else {})}


def _spread(layer: Layer, simulation: Simulation, weights: Mapping[str, Any] | None) -> tuple[float, bool]:
    depthwise = layer.op.startswith("Depthwise")
    name = f"{weights['name']}/wquant" if weights else ""
    node = simulation.network.by_name.get(name)
    data = simulation.network.by_name[node.inputs[0]].data if node is not None else None
    return (channel_spread(data, depthwise) if data is not None and data.ndim >= 2 else 1.0), depthwise


def analysis_json(analysis: Analysis, measured: bool) -> dict[str, Any]:
    """The measured part as JSON values."""
    return {"closeness": analysis.whole.as_json(), "cost_is": MEASURED if measured else DIVERGED,
            "cost_unit": "accuracy" if measured else "noise power", "layers": analysis.layers,
            "tensors": analysis.tensors, "bias_modes": analysis.bias_modes}


def accuracy_json(float_accuracy: float | None, quantized_accuracy: float | None, spec: str | None) -> dict[str, Any]:
    """Accuracy of both, and the points lost; empty without a measure."""
    if float_accuracy is None or quantized_accuracy is None:
        return {}
    return {"measure": spec, "float": float_accuracy, "quantized": quantized_accuracy,
            "drop_points": 100 * (float_accuracy - quantized_accuracy)}


def finding_list(findings: Sequence[Any]) -> list[dict[str, Any]]:
    """The linter's findings as JSON values."""
    return [finding.as_json() for finding in findings]
