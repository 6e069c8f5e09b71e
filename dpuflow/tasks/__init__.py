"""What networks are for, one file per task: how its networks are evaluated and reported.

The train stage notes the task; boards know the same names (``dpuedge.tasks``).
"""

from __future__ import annotations

from collections.abc import Mapping

from dpuflow.errors import ConfigError
from dpuflow.tasks import classification, text
from dpuflow.tasks.base import Evaluated, Task

TASKS: Mapping[str, Task] = {"classification": classification.TASK, "ctc": text.TASK}


def task_of(info: Mapping[str, object]) -> Task:
    """The task that a train stage's notes name; classification where they name none."""
    name = str(info.get("task", "classification"))
    if name not in TASKS:
        raise ConfigError("no such task", where="train stage", got=name, expected=" or ".join(TASKS))
    return TASKS[name]


__all__ = ["TASKS", "Evaluated", "Task", "task_of"]
