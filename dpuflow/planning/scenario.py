"""What if the core, the clock, the memory or the channels were others? One estimate a question."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dpuflow.compiler.driver import compile_graph
from dpuflow.errors import ConfigError
from dpuflow.ir.graph import Graph, Node
from dpuflow.passes.with_channels import adjustable, with_channels
from dpuflow.planning.estimate import estimate_compiled
from dpuflow.target.arch import Core
from dpuflow.target.board import board_timing
from dpuflow.target.performance import Estimate

_KEYS = "core=TARGET, mhz=F, bandwidth=GB/s, channels=FACTOR or channels:LAYER=N, joined by commas"


@dataclass(frozen=True)
class Scenario:
    """What differs from the question as asked; ``text`` is how the user wrote it."""

    text: str
    core: Core | None = None
    clock_mhz: float | None = None
    bandwidth_bytes_per_second: float | None = None  # of the memory, loads and saves together
    channel_factor: float | None = None
    channels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A scenario's estimate; ``speedup`` against the question as asked."""

    scenario: Scenario
    core: Core
    estimate: Estimate
    macs: int
    parameter_bytes: int
    speedup: float = 1.0


def _positive(text: str, where: str, highest: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= highest:
        raise ConfigError("not a number that can be", where=where, got=text, expected=f"above 0, at most {highest:g}")
    return value


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        key, equals, value = part.rpartition("=")
        if not equals or not key.strip() or not value.strip():
            raise ConfigError("not a question", where="--what-if", got=part or text, expected=_KEYS)
        yield key.strip(), value.strip()


def parse_scenario(text: str) -> Scenario:
    """A question from its text, such as ``core=zcu104,mhz=300`` or ``channels:conv1=48``."""
    from dpuflow.target.select import find_target

    scenario, channels = Scenario(text), dict[str, int]()
    for key, value in _pairs(text):
        where = f"--what-if {key}"
        if key == "core":
            scenario = dataclasses.replace(scenario, core=find_target(value))
        elif key == "mhz":
            scenario = dataclasses.replace(scenario, clock_mhz=_positive(value, where, 2000))
        elif key == "bandwidth":
            rate = _positive(value, where, 1000) * 1e9
            scenario = dataclasses.replace(scenario, bandwidth_bytes_per_second=rate)
        elif key == "channels":
            scenario = dataclasses.replace(scenario, channel_factor=_positive(value, where, 16))
        elif key.startswith("channels:"):
            channels[key.removeprefix("channels:")] = math.ceil(_positive(value, where, 65536))
        else:
            raise ConfigError("not a question", where="--what-if", got=key, expected=_KEYS)
    return dataclasses.replace(scenario, channels=channels)


def _changed(graph: Graph, scenario: Scenario) -> Graph:
    if scenario.channel_factor is None and not scenario.channels:
        return graph
    layers = adjustable(graph)
    for name in scenario.channels:
        if name not in layers:
            close = difflib.get_close_matches(name, layers, n=3, cutoff=0.4)
            raise ConfigError("no layer of that name whose channels can be changed", where="--what-if channels",
                              got=name, remedy=f"did you mean {' or '.join(close)}?" if close else "")

    def choose(node: Node) -> int:
        scaled = max(1, math.ceil(node.shape[-1] * (scenario.channel_factor or 1.0)))
        return scenario.channels.get(node.layer, scaled)

    return with_channels(graph, choose)


def parameter_bytes(graph: Graph) -> int:
    """Bytes of weights and biases."""
    return sum(int(np.prod(node.shape, dtype=np.int64)) for node in graph.nodes if node.data is not None and node.fix)


def answer(graph: Graph, core: Core, clock_mhz: float | None, scenario: Scenario) -> Answer:
    """The estimate of a planned network under a scenario. A core other than asked runs at its board's clock
    unless the scenario names one."""
    graph, used = _changed(graph, scenario), scenario.core or core
    board = board_timing(used)
    if scenario.bandwidth_bytes_per_second is not None:
        board = dataclasses.replace(board, ddr_bytes_per_second=scenario.bandwidth_bytes_per_second)
    clock = scenario.clock_mhz or (None if scenario.core else clock_mhz)
    estimate = estimate_compiled(compile_graph(graph, used, graph.name), clock, board)
    return Answer(scenario, used, estimate, sum(layer.macs for layer in estimate.layers), parameter_bytes(graph))


def answers(graph: Graph, core: Core, clock_mhz: float | None, scenarios: Sequence[Scenario]) -> tuple[Answer, ...]:
    """The question as asked, then every scenario with its speedup against it."""
    base = answer(graph, core, clock_mhz, Scenario("as asked"))
    made = [answer(graph, core, clock_mhz, scenario) for scenario in scenarios]
    asked = base.estimate.total_ms
    return (base, *(dataclasses.replace(one, speedup=asked / one.estimate.total_ms) for one in made))
