"""A sequence of remedies under a name, and carrying it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dpuflow.quant.job import QuantizeJob
from dpuflow.quant.quantizer import Quantized, quantize_graph
from dpuflow.recipe.agree_on_biases import agree_on_biases
from dpuflow.recipe.batch_norm_bias import correct_by_statistics, input_means
from dpuflow.recipe.choose_positions import choose_activation_position, choose_weights_position
from dpuflow.recipe.correct_bias import correct_bias
from dpuflow.recipe.draft import Draft, draft_of
from dpuflow.recipe.equalise import Equalisation, equalise
from dpuflow.recipe.fold_input import fold_input
from dpuflow.recipe.round_weights import Rounding, round_weights
from dpuflow.recipe.sample import Sample, draw_sample
from dpuflow.recipe.search_positions import search_positions
from dpuflow.recipe.walk import LayerPolicy, keep_activation, walk

Weights = Literal["vendor", "correct_bias", "correct_bias_by_statistics", "choose_positions", "round_weights"]


@dataclass(frozen=True)
class Plan:
    """What to do: equalise first or not, and how to decide weights, biases and activation positions.

    "vendor" leaves the vendor's rule untouched. ``rounds`` repeats the walk from the positions
    that the one before found; ``search`` ends with coordinate descent on the activations' positions.
    ``fold_input`` first takes arithmetic before the first convolution into it. ``agree_on_biases`` ends
    with no bias finer than its accumulator, so that every vendor compiler reads the same network.
    """

    name: str
    weights: Weights = "vendor"
    equalisation: Equalisation | None = None
    activations: bool = False
    rounding: Rounding = field(default_factory=Rounding)
    rounds: int = 1
    search: bool = False
    fold_input: bool = False
    agree_on_biases: bool = True

    def as_json(self) -> Mapping[str, Any]:
        """The remedies by name, for the record."""
        made: dict[str, Any] = {"weights": self.weights, "activation_positions": self.activations}
        if self.equalisation:
            made["equalise"] = {"activations": self.equalisation.activations, "passes": self.equalisation.passes}
        if self.weights == "round_weights":
            made["ridge"], made["positions"] = self.rounding.ridge, list(self.rounding.around)
            made["rounds"] = self.rounds
        if self.fold_input:
            made["fold_input"] = True
        if self.search:
            made["search_positions"] = True
        if self.agree_on_biases:
            made["biases_no_finer_than_the_accumulator"] = True
        return made


def sample_of(job: QuantizeJob) -> Sample:
    """The images that the remedies look at."""
    draft = draft_of(job)
    placeholders = tuple(node.name for node in job.graph.placeholders)
    return draw_sample(job.batches, placeholders, draft.float_network.network)


def carry_out(job: QuantizeJob, plan: Plan, sample: Sample) -> Quantized:
    """The network quantized by a plan."""
    if plan.weights == "vendor" and plan.equalisation is None and not plan.fold_input:
        made = quantize_graph(job.graph, job.config, job.batches)
    else:
        made = decided(job, plan, sample).finish()
    return agree_on_biases(made, job.config) if plan.agree_on_biases else made


def decided(job: QuantizeJob, plan: Plan, sample: Sample) -> Draft:
    """The draft with everything decided by a plan."""
    if plan.fold_input:
        job = replace(job, graph=fold_input(job.graph))
    draft = draft_of(job)
    if plan.equalisation is not None:
        draft = equalise(draft, sample.fit, plan.equalisation)
    draft = draft.calibrated(job.batches)
    if plan.weights == "vendor":
        return draft
    for _ in range(plan.rounds):
        draft = walk(draft, sample.fit, _policy(plan, job, draft),
                     choose_activation_position if plan.activations else keep_activation)
    return search_positions(draft, sample.fit) if plan.search else draft


def _policy(plan: Plan, job: QuantizeJob, draft: Draft) -> LayerPolicy:
    if plan.weights == "correct_bias_by_statistics":
        return correct_by_statistics(input_means(job.graph, draft))
    policies: Mapping[str, LayerPolicy] = {
        "correct_bias": correct_bias, "choose_positions": choose_weights_position,
        "round_weights": round_weights(plan.rounding)}
    return policies[plan.weights]
