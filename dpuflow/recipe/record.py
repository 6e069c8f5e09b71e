"""The search's memory on disk: what was tried, how it was judged, and the best network so far.

``search.json`` is rewritten as a whole after every trial; a search of the same job goes on behind
the last one. A record of another job, or a damaged one, is begun anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.artifact import json_digest
from dpuflow.errors import DpuError
from dpuflow.files import atomic_path
from dpuflow.formats.graphdef import read_graphdef, serialize_graphdef, write_graphdef
from dpuflow.quant.deploy import deploy_graph
from dpuflow.quant.job import QuantizeJob
from dpuflow.quant.positions import fix_neurons
from dpuflow.quant.quantizer import Quantized
from dpuflow.recipe.judge import Verdict

FORMAT, VERSION = "dpuflow search", 2
FILE = "search.json"


@dataclass
class Record:
    """Trials in order, each a JSON object with the plan's name, its remedies, the verdict and the seconds."""

    folder: Path
    key: str
    judged_by: str
    max_drop: float | None
    trials: list[dict[str, Any]] = field(default_factory=list)
    best: str = ""
    best_file: str = ""
    ended: str = ""

    def find(self, name: str) -> Verdict | None:
        """The verdict on a plan that was tried before."""
        for trial in self.trials:
            if trial["plan"] == name:
                return Verdict(trial["drop_points"], trial["output_noise"], trial["accuracy"], trial["fine_biases"])
        return None

    def add(self, name: str, remedies: Mapping[str, Any], verdict: Verdict, seconds: float) -> None:
        """Note a trial and write the record."""
        self.trials.append({"plan": name, "remedies": dict(remedies), **verdict.as_json(),
                            "seconds": round(seconds, 2)})
        self.write()

    def keep(self, name: str, quantized: Quantized) -> None:
        """Keep the best network so far; the one before goes when the record names the new one."""
        before, self.best = self.best_file, name
        self.best_file = f"best-{len(self.trials)}.pb"
        write_graphdef(quantized.evaluation, self.folder / self.best_file)
        self.write()
        if before and before != self.best_file:
            (self.folder / before).unlink(missing_ok=True)

    def load_best(self, job: QuantizeJob) -> Quantized:
        """The network kept last."""
        evaluation = read_graphdef(self.folder / Path(self.best_file).name)
        positions = {name: int(fix.get("quantize_pos")) for name, fix in fix_neurons(evaluation).items()}
        return Quantized(evaluation, deploy_graph(evaluation, job.config), positions)

    def write(self) -> None:
        """The record as a file, as a whole or not at all."""
        content = {"format": FORMAT, "version": VERSION, "key": self.key, "judged_by": self.judged_by,
                   "max_drop_points": self.max_drop, "best": self.best, "best_file": self.best_file,
                   "ended": self.ended, "trials": self.trials}
        with atomic_path(self.folder / FILE) as path:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def job_key(job: QuantizeJob) -> str:
    """A digest of all that a search's trials depend on: network, options, calibration data, seed, float accuracy."""
    data = hashlib.sha256()
    for batch in job.batches:
        for name in sorted(batch):
            data.update(name.encode())
            data.update(np.ascontiguousarray(batch[name], np.float32).tobytes())
    return json_digest({
        "graph": hashlib.sha256(serialize_graphdef(job.graph)).hexdigest(), "config": _plain(asdict(job.config)),
        "data": data.hexdigest(), "seed": job.seed, "float_accuracy": job.float_accuracy,
        "evaluated": job.evaluate is not None, "version": VERSION})


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def open_record(job: QuantizeJob, judged_by: str) -> Record:
    """The record of this job: continued if there is one, else begun."""
    record = Record(Path(job.folder), job_key(job), judged_by, job.max_drop)
    found = _read(record.folder / FILE)
    if found is None or found.get("key") != record.key or found.get("judged_by") != judged_by:
        return record
    try:
        record.trials = [dict(trial) for trial in found["trials"]]
        record.best, record.best_file = str(found["best"]), str(found["best_file"])
        if record.best:
            record.load_best(job)
        for trial in record.trials:
            record.find(trial["plan"])
    except (DpuError, KeyError, TypeError, ValueError):
        return Record(record.folder, record.key, judged_by, job.max_drop)
    return record


def trials_json(folder: Path) -> dict[str, Any] | None:
    """What a search tried, for reports: how it judged, how it ended, its best plan, every trial; None without one."""
    found = _read(folder / FILE)
    if found is None or not isinstance(found.get("trials"), list):
        return None
    return {name: found.get(name) for name in ("judged_by", "max_drop_points", "ended", "best", "trials")}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("version") == VERSION else None
