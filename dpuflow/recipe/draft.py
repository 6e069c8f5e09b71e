"""A network on its way to being quantized: FixNeurons in place, parameters and positions still free."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from dpuflow.analysis.simulation import Simulation
from dpuflow.formats.graphdef import TFGraph
from dpuflow.ir.graph import Array
from dpuflow.quant.adjust import adjust_positions
from dpuflow.quant.calibrate import Batches, calibrate
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.deploy import deploy_graph
from dpuflow.quant.insert import Group, Placement
from dpuflow.quant.job import QuantizeJob
from dpuflow.quant.quantizer import Quantized, prepare, with_positions, with_quantized_weights


@dataclass(frozen=True)
class Draft:
    """The prepared graph (batch normalisation folded), where its FixNeurons are, and their positions so far.

    ``exact`` is the graph whose float results the quantized network is to come close to: the same
    layers with the parameters before any was rounded. ``scales`` says by how much each layer's
    output channels were multiplied (by the layer's last node), so that statistics of the original
    network can still be used.
    """

    graph: TFGraph
    placement: Placement
    config: QuantizeConfig
    exact: TFGraph
    positions: Mapping[str, int] = field(default_factory=dict)
    scales: Mapping[str, Array] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The compute groups, in the graph's order."""
        order = {node.name: at for at, node in enumerate(self.graph.nodes)}
        return tuple(sorted(self.placement.groups, key=lambda group: order[group.compute]))

    def constant(self, name: str) -> Array:
        """A parameter as float32."""
        return np.asarray(self.graph.node(name).tensor(), np.float32)

    def with_float(self, constants: Mapping[str, Array], scales: Mapping[str, Array]) -> Draft:
        """Other float parameters that compute the same function; positions must be found anew."""
        changed = _with_constants(self.graph, constants)
        known = {name: self.scales.get(name, np.float32(1)) * scale for name, scale in scales.items()}
        return replace(self, graph=changed, exact=changed, positions={}, scales={**self.scales, **known})

    def rounded(self, constants: Mapping[str, Array], positions: Mapping[str, int]) -> Draft:
        """Other parameters, on their grids, and positions; the float network to come close to stays."""
        return replace(self, graph=_with_constants(self.graph, constants), positions=positions)

    def calibrated(self, batches: Batches) -> Draft:
        """Positions by the vendor's rule from the data, brought into the DPU's ranges."""
        fixes = [fix.name for fix in self.placement.fixes.values()]
        found = calibrate(self.graph, fixes, self.config.shapes, batches, self.config.activation_rounding)
        return replace(self, positions=self.legal(found))

    def legal(self, positions: Mapping[str, int]) -> dict[str, int]:
        """Positions brought into the ranges that the DPU can shift.

        Without the vendor's warnings: what is tried is not yet the result.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return adjust_positions(self.graph, self.placement.groups, positions, self.config)

    @cached_property
    def float_network(self) -> Simulation:
        """The network to come close to."""
        return Simulation(self.exact, self.config)

    def finish(self) -> Quantized:
        """Both graphs; every parameter lies on its grid, so that rounding it again changes nothing."""
        positions = self.legal(self.positions)
        evaluation = with_quantized_weights(with_positions(self.graph, positions))
        return Quantized(evaluation, deploy_graph(evaluation, self.config), positions)


def _with_constants(graph: TFGraph, constants: Mapping[str, Array]) -> TFGraph:
    return graph.replace(
        node.with_attrs(value=np.asarray(constants[node.name], np.float32).reshape(node.tensor().shape))
        if node.name in constants else node for node in graph.nodes)


def draft_of(job: QuantizeJob) -> Draft:
    """The job's network prepared as the vendor's tool prepares it, nothing decided yet."""
    prepared = prepare(job.graph, job.config)
    return Draft(prepared.graph, prepared.placement, job.config, prepared.graph)
