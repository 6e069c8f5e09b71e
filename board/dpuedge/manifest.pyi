from collections.abc import Mapping
from typing import Any, NamedTuple

SCHEMA: int
SUFFIX: str
TAIL_OPS: tuple[str, ...]
TAIL_SUFFIX: str

class Tensor(NamedTuple):
    name: str
    shape: tuple[int, ...]
    fix_point: int

class Model(NamedTuple):
    path: str
    sha256: str
    name: str
    kernel: str
    tool: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    cpu_tail: tuple[Mapping[str, Any], ...]
    preprocessing: Mapping[str, Any]
    labels: tuple[str, ...]
    fake_class: int | None
    core: Mapping[str, Any]
    task: str
    blank: int | None
    parameters: Mapping[str, Any]

def load(path: str) -> Model: ...
def find_model(path: str) -> str: ...
def file_sha256(path: str) -> str: ...
