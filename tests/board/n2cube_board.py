"""A folder that stands for a board: a model, pictures, and the settings under which the stand-in is its runtime."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import elf_builder
import numpy as np
from board_model import manifest_data

HERE = Path(__file__).parent
IN_POS, OUT_POS = 5, 3


def build_library(path: Path) -> None:
    """The stand-in, with the C compiler."""
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(path), str(HERE / "n2cube_standin.c")], check=True)


def write_manifest(folder: Path, tool: str, name: str = "tiny") -> None:
    """The model's manifest."""
    data = manifest_data(b"", tool=tool, files={})
    (folder / f"{name}.json").write_text(json.dumps(data))


def make(folder: Path, library: Path, pictures: int = 4) -> tuple[dict[str, object], np.ndarray]:
    """Environment variables, and the int8 answers to the pictures in ``x.npy``."""
    model = folder / "model"
    model.mkdir()
    strings = elf_builder.Strings()
    nodes = [elf_builder.node(strings, "net_conv", 1, [0], [1], []),
             elf_builder.node(strings, "net_out", 1, [1], [2], [])]
    tensors = [elf_builder.tensor(2, 32, 32, 1, IN_POS), elf_builder.tensor(1, 1, 1, 3, 4),
               elf_builder.tensor(4, 1, 1, 3, OUT_POS)]
    sections = elf_builder.kernel_sections("tiny", nodes, tensors, b"", 0, strings)
    (model / "libdpumodeltiny.so").write_bytes(elf_builder.elf(sections))
    write_manifest(model, "dnnc 3.1")
    images = np.random.default_rng(1).integers(-128, 128, (pictures, 32, 32, 1)).astype(np.int8)
    answers = np.random.default_rng(2).integers(-128, 128, (pictures, 3)).astype(np.int8)
    np.save(folder / "x.npy", images)
    head = struct.pack("<IIIiIiI", 32, 32, 1, IN_POS, 3, OUT_POS, pictures)
    rows = b"".join(image.tobytes() + answer.tobytes() for image, answer in zip(images, answers, strict=True))
    (folder / "table").write_bytes(head + rows)
    (folder / "dpu").write_text("")
    settings = {"DPUEDGE_DEVICE": folder / "dpu", "DPUEDGE_N2CUBE": library, "N2CUBE_TABLE": folder / "table",
                "N2CUBE_KERNEL": "tiny", "N2CUBE_INPUT": "net_conv", "N2CUBE_OUTPUT": "net_out"}
    return settings, answers
