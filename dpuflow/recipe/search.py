"""Search over remedies by measurement: cheap ones first, until the allowed drop is held."""

from __future__ import annotations

import logging
import time

from dpuflow.quant.job import QuantizeJob
from dpuflow.quant.quantizer import Quantized
from dpuflow.recipe.equalise import Equalisation
from dpuflow.recipe.judge import Judge, Verdict
from dpuflow.recipe.plan import Plan, carry_out, sample_of
from dpuflow.recipe.record import Record, open_record
from dpuflow.recipe.round_weights import Rounding
from dpuflow.recipe.sample import Sample

_LOG = logging.getLogger(__name__)

DEFAULT_DROP = 0.1  # percentage points, where the user sets no limit

DEFAULT = Plan("equalise and fine-tune", "round_weights", Equalisation(0.25), True)

# The vendor's rule but for biases finer than the accumulator: tried where the rule made such.
AGREED = Plan("vendor, biases agreed on")

# What is tried, in this order.
PLANS: tuple[Plan, ...] = (
    Plan("vendor", agree_on_biases=False),
    AGREED,
    Plan("correct biases", "correct_bias"),
    DEFAULT,
    Plan("fine-tune", "round_weights", activations=True),
    Plan("equalise and correct biases", "correct_bias", Equalisation()),
    Plan("equalise by activations and fine-tune", "round_weights", Equalisation(0.5), True),
    Plan("equalise and fine-tune freely", "round_weights", Equalisation(), True, Rounding(0.01, (-1, 0, 1, 2), 6), 2),
    Plan("equalise, fine-tune, search positions", "round_weights", Equalisation(), True, search=True),
    Plan("best positions for the outputs", "choose_positions", Equalisation(), True),
    Plan("equalise and correct biases by statistics", "correct_bias_by_statistics", Equalisation()),
    Plan("fold the input, equalise and fine-tune", "round_weights", Equalisation(0.25), True, fold_input=True),
)


def auto(job: QuantizeJob) -> Quantized:
    """The first network within ``job.max_drop`` (0.1 points if not given), else the best of all plans.

    Where one image of the evaluation is more than the limit, its verdict is chance: then the search goes
    on to the default's plan, and of those within the limit the one with the least noise at its output
    is taken. Within the limit a network whose biases are no finer than their accumulators comes before one on
    which the vendor's compilers disagree (bias_mode exact and prerounded).

    Judged by ``job.evaluate``, or without one by how many held-out calibration images change their
    largest output; the record in ``job.folder`` says which, and lets an interrupted search go on.
    """
    sample = sample_of(job)
    judge = Judge(job, sample)
    record = open_record(job, judge.by)
    limit = DEFAULT_DROP if job.max_drop is None else job.max_drop
    best = record.find(record.best) if record.best else None
    coarse = _image_points(job) > limit
    for plan in PLANS:
        settled = not coarse or record.find(DEFAULT.name) is not None
        if best is not None and best.holds(limit) and not best.fine_biases and settled:
            break
        if record.find(plan.name) is None and not (plan == AGREED and _agrees(record)):
            best = _try(job, plan, sample, judge, record, best, limit)
    _close(record, best, limit, _image_points(job))
    return record.load_best(job)


def _image_points(job: QuantizeJob) -> float:
    """What one image of the evaluation is, in percentage points; 0 where their number is not known."""
    return 100 / job.evaluation_images if job.evaluation_images else 0.0


def _agrees(record: Record) -> bool:
    """Whether the vendor's rule made no bias that is finer than its accumulator."""
    verdict = record.find("vendor")
    return verdict is not None and not verdict.fine_biases


def _try(job: QuantizeJob, plan: Plan, sample: Sample, judge: Judge, record: Record, best: Verdict | None,
         limit: float) -> Verdict:
    """Carry a plan out and judge it; the best verdict so far. The best network is kept before its trial is noted."""
    started = time.monotonic()
    quantized = carry_out(job, plan, sample)
    verdict = judge(quantized)
    if best is None or verdict.is_better(best, limit):
        best = verdict
        record.keep(plan.name, quantized)
    record.add(plan.name, plan.as_json(), verdict, time.monotonic() - started)
    _LOG.info("%s: %s", plan.name, verdict)
    return best


def _close(record: Record, best: Verdict | None, limit: float, image_points: float) -> None:
    held = best is not None and best.holds(limit)
    record.ended = f"the limit of {limit} points holds" if held else f"no plan holds the limit of {limit} points"
    if held and image_points > limit:
        record.ended += (f"; one image is {image_points:.2f} points, so the output's noise chose among the plans "
                         "that hold it (give --evaluate more images)")
    record.write()


def default(job: QuantizeJob) -> Quantized:
    """The fixed sequence that helps most networks, without a search."""
    return carry_out(job, DEFAULT, sample_of(job))
