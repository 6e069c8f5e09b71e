"""Identity nodes go; their readers read what they read (quantizer specification, section 3.2, step 1)."""

from __future__ import annotations

from collections.abc import Mapping

from dpuflow.formats.graphdef import TFGraph
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.patterns import ANY, op
from dpuflow.quant.rewrite import Edit, replace_until_stable

_IDENTITY = op("identity", "Identity", ANY)


def remove_identities_but(graph: TFGraph, kept: frozenset[str]) -> TFGraph:
    """Remove every Identity that is not among ``kept``."""

    def drop(graph: TFGraph, roles: Mapping[str, str]) -> Edit | None:
        name = roles["identity"]
        if name in kept:
            return None
        return Edit((graph.node(roles["input"]),), {name: roles["input"]})

    return replace_until_stable(graph, _IDENTITY, drop)


def remove_identities(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Identities that are neither inputs nor outputs go: variable reads, dropout at inference."""
    return remove_identities_but(graph, frozenset((*config.input_nodes, *config.output_nodes)))
