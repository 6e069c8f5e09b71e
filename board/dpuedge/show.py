"""Results as a table or as JSON; both always say whether a DPU ran or was emulated. Python 2.7 and 3.5+."""
from __future__ import division, print_function

import json
import os
from collections import namedtuple

from dpuedge import profile, tasks
from dpuedge.console import say
from dpuedge.session import median

SCHEMA = 1
FILE_COLUMNS = 44  # longer names lose their start


def core_text(core):
    """Name and target of a core in words, as every output states it."""
    return "%s (%s)" % (core["name"], core["target"])


class Form(namedtuple("Form", "heading line group entry")):
    """How a task's results look: columns of the table and an object of the JSON list ``group``."""

    __slots__ = ()


def _class_heading(options):
    return "class  P(real)  top %-*s" % (9 * options.topk - 5, options.topk)


def _class_line(prediction, options):
    guesses = " ".join("%s %.4f" % (guess.label, guess.probability) for guess in prediction.top)
    return "%-5s   %.4f  %-*s" % (prediction.best.label, prediction.p_real, 9 * options.topk - 1, guesses)


def _class_entry(prediction, model):
    """The best classes, the int8 logits with their position."""
    return {
        "file": prediction.name, "class": prediction.best.label, "class_index": prediction.best.index,
        "probability": prediction.best.probability, "p_real": prediction.p_real,
        "top": [dict(guess._asdict()) for guess in prediction.top],
        "logits": {"name": model.outputs[0].name, "fix_point": model.outputs[0].fix_point,
                   "int8": prediction.logits.tolist()},
    }


def _text_heading(_options):
    return "text      confidence"


def _text_line(reading, _options):
    return "%-8s      %.4f" % (reading.text, reading.confidence)


def _text_entry(reading, _model):
    return {"image": reading.name, "text": reading.text, "confidence": reading.confidence}


FORMS = {
    tasks.CLASSIFICATION: Form(_class_heading, _class_line, "predictions", _class_entry),
    tasks.CTC: Form(_text_heading, _text_line, "results", _text_entry),
}


def mode(run):
    """What ran, for a profile: a DPU node by node is another thing than its emulator."""
    if run.backend.emulated:
        return "emulator, engine %s: no DPU time" % run.engine
    return "DPU, back end %s; its clock is not read" % run.backend.name


def _profile(run, times, wall_s):
    return profile.Profile(times, wall_s, run.options.warmup)


class Table(object):
    """Lines on ``stream`` as results arrive."""

    def __init__(self, stream, run, names):
        self.stream = stream
        self.run = run
        self.form = FORMS[run.model.task]
        self.width = max([len("file")] + [min(len(name), FILE_COLUMNS) for name in names])
        self.times = []
        self.failed = 0

    def start(self):
        """The heading: what runs where, and the names of the columns."""
        model, how = self.run.model, "DPU: back end %s" % self.run.backend.name
        if self.run.backend.emulated:
            how = "EMULATED on this computer's CPU (engine %s), no DPU ran" % self.run.engine
        say(self.stream, "%s\nmodel %s  sha256 %s  core %s\npreprocessing %s\n" % (
            how, model.name, model.sha256[:16], core_text(model.core), model.preprocessing["id"]))
        say(self.stream, "%-*s  %s   pre ms  %s ms  post ms" % (
            self.width, "file", self.form.heading(self.run.options), self._engine_column()))

    def _engine_column(self):
        return "emulator" if self.run.backend.emulated else "     DPU"

    def add(self, prediction):
        """One picture's line."""
        self.times.append(prediction.times)
        name = prediction.name
        if len(name) > self.width:
            name = "..." + name[3 - self.width:]
        say(self.stream, "%-*s  %s  %7.2f  %11.3f  %7.2f" % (
            (self.width, name, self.form.line(prediction, self.run.options)) + tuple(prediction.times)))

    def fail(self, _failure):
        """Count a source that could not be read; its message is already on the error stream."""
        self.failed += 1

    def finish(self, wall_s):
        """The last line: how many, and the median times; then the profile."""
        if not self.times:
            return
        pre, run, post = [median(times) for times in zip(*self.times)]
        what = "emulator (not a DPU time)" if self.run.backend.emulated else "DPU"
        say(self.stream, "\n%d read, %d failed; median ms: pre %.2f, %s %.3f, post %.2f" % (
            len(self.times), self.failed, pre, what, run, post))
        if self.run.options.profile:
            say(self.stream, "\n".join(profile.lines(_profile(self.run, self.times, wall_s), mode(self.run))))


class Document(object):
    """One JSON object on ``stream`` when all results are there."""

    def __init__(self, stream, run, _names):
        self.stream = stream
        self.run = run
        self.form = FORMS[run.model.task]
        self.predictions = []
        self.errors = []
        self.times = []

    def start(self):
        """Nothing is written before the end."""

    def add(self, prediction):
        """One picture's entry: what the task makes of it, and the times."""
        times = prediction.times
        self.times.append(times)
        self.predictions.append(dict(
            self.form.entry(prediction, self.run.model),
            timing_ms={"pre": times.pre_ms, "run": times.run_ms, "post": times.post_ms}))

    def fail(self, failure):
        """One source that could not be read."""
        self.errors.append(dict(failure._asdict()))

    def finish(self, wall_s):
        """Write the object."""
        run, model = self.run, self.run.model
        data = {
            "schema": SCHEMA, "backend": run.backend.name, "emulated": run.backend.emulated,
            "engine": run.engine, "model": model.name, "model_file": os.path.basename(model.path),
            "model_sha256": model.sha256, "kernel": model.kernel, "compiled_by": model.tool, "core": model.core,
            "preprocessing": model.preprocessing["id"], "quantize_input": run.options.quantize_input,
            "threads": run.options.threads, "repeat": run.options.repeat,
            "task": model.task, self.form.group: self.predictions, "errors": self.errors,
        }
        if run.options.profile and self.times:
            data["profile"] = profile.as_json(_profile(run, self.times, wall_s), mode(run))
        say(self.stream, json.dumps(data, sort_keys=True))
