"""The laws of the code: one home for fixed-point arithmetic, imports in one direction, no cycles."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = sorted((ROOT / "dpuflow").rglob("*.py"))
BOARD = sorted((ROOT / "board").rglob("*.py"))
SCRIPTS = [path for folder in ("train", "scripts", "quantize", "compile")
           for path in sorted((ROOT / folder).glob("*.py"))]
HOME = ROOT / "board" / "dpuedge" / "fixed.py"

# Calls that round tensor data. Python's own round(), math.floor and // on sizes are not among them.
ROUNDING = {"rint", "round", "round_", "around", "fix", "trunc", "floor", "ceil"}
NUMPY_NAMES = {"np", "numpy"}
INTEGER_TYPES = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "int", "int_", "intp"}

# Casts of values that are integers already (indices, sizes, pixels after fixed.shift_round), by file.
CASTS_OF_INTEGERS = {
    "dpuflow/engines/litert/segment.py": 2,  # int8 weights and exact int64 biases for LiteRT
    "dpuflow/formats/tf_values.py": 1,  # half-precision bits held as int32
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def numpy_roundings(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, name = node.func.value, node.func.attr
        if isinstance(owner, ast.Name) and owner.id in NUMPY_NAMES and name in ROUNDING:
            found.append(f"line {node.lineno}: {owner.id}.{name}")
    return found


def shifts(tree: ast.AST) -> list[str]:
    """Right shifts of anything but literals, and left shifts of what is not a literal."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift):
            found.append(f"line {node.lineno}: >>")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift) and not isinstance(node.left, ast.Constant):
            found.append(f"line {node.lineno}: <<")
    return found


def integer_casts(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "astype":
            names = {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}
            names |= {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
            if names & {"int8", "int16", "int32", "int64"}:
                found.append(f"line {node.lineno}: astype to an integer")
    return found


@pytest.mark.parametrize("path", [path for path in LIBRARY + BOARD if path != HOME], ids=relative)
def test_tensor_data_is_rounded_in_one_module_only(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if relative(path).startswith(("dpuflow/data/", "dpuflow/report/")):
        return  # pictures and plots: no tensor of a network passes through them
    assert numpy_roundings(tree) == []
    assert shifts(tree) == []
    assert len(integer_casts(tree)) <= CASTS_OF_INTEGERS.get(relative(path), 0), integer_casts(tree)


def test_the_check_would_see_a_rounding():
    tree = ast.parse("y = np.round(x)\nz = x >> 3\nw = x.astype(np.int8)\nv = acc << s")
    assert len(numpy_roundings(tree)) == 1
    assert len(shifts(tree)) == 2
    assert len(integer_casts(tree)) == 1


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", LIBRARY, ids=relative)
def test_the_library_imports_no_stage_script(path):
    scripts = {script.stem for script in SCRIPTS} - {"inspect"}
    assert not {name.split(".")[0] for name in imported(path)} & scripts


@pytest.mark.parametrize("path", BOARD, ids=relative)
def test_the_board_imports_the_library_in_the_emulator_only(path):
    uses = {name for name in imported(path) if name.split(".")[0] == "dpuflow"}
    assert not uses or path.name == "emulator.py"


# Who may import TensorFlow, Keras or plotting libraries: their files, pages, pictures, the bridge to TensorFlow,
# quantization-aware training.
HEAVY_ON_DEMAND = ("dpuflow/data", "dpuflow/report", "dpuflow/formats/keras_freeze.py", "dpuflow/tensorflow",
                   "dpuflow/qat")


@pytest.mark.parametrize("path", [p for p in LIBRARY if not relative(p).startswith(HEAVY_ON_DEMAND)], ids=relative)
def test_the_core_needs_no_tensorflow(path):
    heavy = {"tensorflow", "keras", "torch", "matplotlib", "jinja2", "PIL", "fontTools", "onnx"}
    assert not {name.split(".")[0] for name in imported(path)} & heavy


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def library_imports(path: Path, modules: set[str]) -> set[str]:
    """Library modules that this one imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {next((name for name in (f"{node.module}.{alias.name}", node.module) if name in modules), "")
                      for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in modules}
    return found - {"", module_name(path)}


def test_no_cycles():
    modules = {module_name(path): path for path in LIBRARY}
    edges = {name: library_imports(path, set(modules)) for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in edges[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in edges:
        visit(name, ())
    assert len(done) == len(modules)


def test_import_is_light():
    """`import dpuflow` pulls in neither NumPy nor anything heavy."""
    code = ("import dpuflow, sys; "
            "print(sorted(m for m in ('numpy', 'google.protobuf', 'tensorflow') if m in sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_whole_core_works_without_tensorflow(tmp_path):
    """Load, quantize, compile and emulate in a process in which TensorFlow cannot be imported."""
    code = f"""
import sys
for name in ("tensorflow", "keras", "cv2", "PIL", "matplotlib"):
    sys.modules[name] = None
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "board")!r}, {str(ROOT / "tests")!r}]
import numpy as np
import dpuflow
from dpuflow.formats.graphdef import write_graphdef
from quant import small_net
network = small_net.layers(1)
write_graphdef(small_net.frozen(network), {str(tmp_path / "float.pb")!r})
x = small_net.batches(network)[0]
quantized = dpuflow.quantize({str(tmp_path / "float.pb")!r}, x)
compiled = dpuflow.compile(quantized, target="zedboard")
fast = dpuflow.run(compiled, x)["net/out"]
print(np.array_equal(fast, dpuflow.run(quantized, x, engine="reference")["net/out"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr
