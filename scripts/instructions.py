"""Write compile/INSTRUCTIONS.md from the table of virtual instructions.

    .venv/bin/python scripts/instructions.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dpuflow.program.banks import BOX
from dpuflow.program.instructions import FIELD_MEANINGS, MAGIC, MEANINGS, OPERAND_PREFIXES, OPERATIONS, QUEUES

FILE = Path(__file__).resolve().parent.parent / "compile" / "INSTRUCTIONS.md"
INTRODUCTION = f"""# Virtual instructions

Made by `scripts/instructions.py` from the table that encodes them; do not edit.

The instructions of a program are this project's own, for the emulator and the performance model. **Silicon runs only
code made by the vendor's compiler**; nothing here is or resembles its instruction words.

`dpuflow program FILE --text` prints a program, `-o OUT.bin` writes its bytes; both forms hold the same and can be read
back (`dpuflow.program.instructions.from_text`, `decode`). `dpuflow compile` puts the bytes into the xmodel, as
attribute `dpuflow_program` of each DPU subgraph.

## Machine

- Four queues, {', '.join(QUEUES)}, each in order, beside each other. `wait` and `signal` are sets of queues:
  before it begins, an instruction takes one token from each queue that it waits for; when it is done, it gives one to
  each that it signals. Tokens from one queue to another are taken in the order in which they were given.
- Image groups of PP banks, ICP bytes wide and 2048 deep. Row y of a map stands in bank y mod PP; PP rows are a strip.
  Within a strip a pixel's channel groups of ICP follow each other. A buffer is a ring of strips: a box may wrap once.
  A window reads one image group and writes another; sums may read and write any.
- Weights: OCP banks, ICP wide. Biases and depthwise weights: one bank each, ICP wide.
- DDR: registers of bytes. Maps are NHWC with strides; parameters are OHWI, dense, without alignment. A transposed
  convolution's weights stand as those of its stride x stride parts, taps turned round.
- Arithmetic is that of the DPU (exact sums, one rounding, saturation); `dpuflow.program.machine` executes it,
  `dpuflow.program.clock` counts the cycles, `dpuflow.program.verify` proves the program.

## Forms

Text: one line an instruction, `operation wait=Q+Q signal=Q layer=N field=value ...`, `-` for no queue.

Bytes, little-endian: the line `{MAGIC.decode().strip()}` with its line end; then for each instruction its
code (u16), wait (u8) and signal (u8) with bit {', '.join(f'{at} {queue}' for at, queue in enumerate(QUEUES))},
the layer's index (u32), and every field as i32 in the order below.

## Operations
"""


def _fields(names: tuple[str, ...]) -> str:
    """Field names; those of a box as its prefix with a star."""
    shown: list[str] = []
    for name in names:
        prefix = next((p for p in ("out_", *OPERAND_PREFIXES, "") if name.startswith(p) and name[len(p):] in BOX
                       and {p + part for part in BOX} <= set(names)), None)
        text = f"`{name}`" if prefix is None else f"`{prefix}*`"
        if text not in shown:
            shown.append(text)
    return " ".join(shown)


def text() -> str:
    """The whole page."""
    lines = [INTRODUCTION, "`*` stands for the fields of a box: " + ", ".join(f"`{name}`" for name in BOX) + ".", "",
             "| operation | code | queue | what it does | fields |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {code} | {queue} | {MEANINGS[name]} | {_fields(fields)} |"
              for name, (code, queue, fields) in OPERATIONS.items()]
    lines += ["", "## Fields", "", "| field | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in FIELD_MEANINGS.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if the page is out of date")
    options = parser.parse_args()
    if options.check:
        same = FILE.is_file() and FILE.read_text(encoding="utf-8") == text()
        print(f"{FILE.name} is {'up to date' if same else 'out of date: run scripts/instructions.py'}")
        return 0 if same else 1
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
