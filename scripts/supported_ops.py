"""Write compile/SUPPORTED_OPS.md from the operator, importer and limit tables.

    .venv/bin/python scripts/supported_ops.py [--check]
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

from dpuflow.compiler.rewrites import REWRITES
from dpuflow.compiler.work import _WORK
from dpuflow.formats.onnx_import import CONVERTERS as ONNX_CONVERTERS
from dpuflow.formats.onnx_static import STATIC
from dpuflow.formats.tf_constants import FOLDABLE
from dpuflow.formats.tf_operators import CONVERTERS, STATIC_ONLY
from dpuflow.formats.xir_import import CONVERTERS as XIR_CONVERTERS
from dpuflow.ops import OPS
from dpuflow.target.limits import LIMITS, REMEDIES
from dpuflow.target.table import named_targets
from dpuflow.target.work import ActivationWork, ConvWork, EltwiseWork, MoveWork, PoolWork, UpsampleWork

FILE = Path(__file__).resolve().parent.parent / "compile" / "SUPPORTED_OPS.md"
TITLES = {
    ConvWork: "Convolution, depthwise and transposed convolution, dense",
    UpsampleWork: "Nearest resize", PoolWork: "Max and average pool, mean",
    EltwiseWork: "Elementwise sum and product", ActivationWork: "Activations on their own",
    MoveWork: "Reshape and concat",
}


def operators() -> list[str]:
    rows = ["| operator | fixed point | on the DPU as |", "|---|---|---|"]
    as_other = {"dense": "convolution", "mean": "average pool"}
    for op in OPS.values():
        if op.name in ("input", "const", "fix", "identity", "float2fix"):
            continue
        where = op.name if op.name in _WORK else as_other.get(op.name, "CPU")
        fused = op.name in ("relu", "relu6", "leaky_relu", "bias_add", "batch_norm")
        rows.append(f"| {op.name} | {'yes' if op.fixed else 'float only'} | "
                    f"{'part of the convolution before it' if fused else where} |")
    return rows


def limits() -> list[str]:
    lines = []
    for kind, predicates in LIMITS.items():
        lines += ["", f"### {TITLES[kind]}", "", "| limit | what it says | what helps |", "|---|---|---|"]
        lines += [f"| `{limit.__name__}` | {inspect.getdoc(limit)} | {REMEDIES[limit.__name__]} |"
                  for limit in predicates]
    return lines


def rewrites() -> list[str]:
    lines = ["What the compiler writes in another form, with the same integers as result, before it turns to the CPU:",
             ""]
    return lines + [f"- `{'`, `'.join(sorted(rewrite.limits))}`: {rewrite.sentence}" for rewrite in REWRITES]


def targets() -> list[str]:
    rows = ["| target | core | kernel | max pool | average pool | depthwise | nonlinear |",
            "|---|---|---|---|---|---|---|"]
    for name, core in named_targets().items():
        average = "-".join(map(str, core.average_pool_kernel)) if core.average_pool else "no"
        rows.append(f"| {name} | {core.arch} | {core.conv_kernel[0]}-{core.conv_kernel[1]} | "
                    f"{core.max_pool_kernel[0]}-{core.max_pool_kernel[1]} | {average} | "
                    f"{'yes' if core.dwconv_pixel_parallel else 'no'} | {', '.join(core.conv_nonlinears)} |")
    return rows


def text() -> str:
    lines = [
        "# Supported operators and limits", "",
        "Made by `scripts/supported_ops.py` from the tables that the compiler and `dpuflow inspect` use; do not edit.",
        "A layer that breaks a limit runs on the CPU, and the compiler says why.", "",
        "## Operators", "", *operators(), "", "## Limits", *limits(), "",
        "## Rewrites", "", *rewrites(), "", "## Targets", "", *targets(), "",
        "## TensorFlow operators that are read", "",
        ", ".join(f"`{name}`" for name in sorted({*CONVERTERS, *STATIC_ONLY, *FOLDABLE})), "",
        "## ONNX operators that are read (opset 7 and later)", "",
        ", ".join(f"`{name}`" for name in sorted(ONNX_CONVERTERS)), "",
        "Beside them, on shapes and constants alone: "
        + ", ".join(f"`{name}`" for name in sorted({"Constant", "Shape", *STATIC} - set(ONNX_CONVERTERS))) + ".", "",
        "## XIR operators that are read (compiled files)", "",
        ", ".join(f"`{name}`" for name in sorted(XIR_CONVERTERS)),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="supported_ops", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when the file is stale")
    if parser.parse_args().check:
        if not FILE.exists() or FILE.read_text(encoding="utf-8") != text():
            print(f"{FILE.name} is stale. Remedy: run scripts/supported_ops.py", file=sys.stderr)
            return 1
        return 0
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
