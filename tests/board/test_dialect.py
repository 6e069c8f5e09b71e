"""Every file under board/ must run on Python 2.7 and on 3.5 and newer (recommended habits, section 3)."""

import ast
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "board").rglob("*.py"))
PORTABLE_TESTS = sorted(path for path in Path(__file__).parent.glob("test_*.py")
                        if path.read_text(encoding="utf-8").split('"""')[1].endswith("Python 2.7 and 3.5+."))


def forbidden(tree: ast.AST) -> list[str]:
    """What Python 2.7 or 3.5 cannot parse, by line."""
    found = []
    last = {id(node.args[-1]) for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args}
    for node in ast.walk(tree):
        what = None
        if (isinstance(node, ast.AnnAssign) or getattr(node, "returns", None) is not None
                or (isinstance(node, ast.arg) and node.annotation is not None)):
            what = "annotation"
        elif isinstance(node, ast.arguments) and (node.kwonlyargs or node.posonlyargs):
            what = "keyword-only or positional-only argument"
        elif isinstance(node, ast.JoinedStr):
            what = "f-string"
        elif isinstance(node, ast.MatMult):
            what = "@ operator"
        elif isinstance(node, (ast.Nonlocal, ast.YieldFrom, ast.AsyncFunctionDef, ast.Await)):
            what = type(node).__name__
        elif isinstance(node, ast.Starred) and id(node) not in last:  # f(*a) is old, f(*a, *b) and [*a] are not
            what = "star expression"
        elif (isinstance(node, ast.Dict) and None in node.keys) or (
                isinstance(node, ast.Call) and sum(keyword.arg is None for keyword in node.keywords) > 1):
            what = "unpacking of several mappings"
        elif isinstance(node, ast.Raise) and node.cause is not None:
            what = "raise ... from"
        elif isinstance(node, ast.ClassDef) and node.keywords:
            what = "class keyword"
        if what:
            found.append(f"{getattr(node, 'lineno', '?')}: {what}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_board_files_keep_to_the_common_dialect(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert forbidden(ast.parse(text, feature_version=(3, 5))) == []
    if not text.isascii():
        assert text.splitlines()[0].endswith("coding: utf-8 -*-") or "coding: utf-8" in text.splitlines()[1]


@pytest.mark.parametrize("source", [
    "def f(a: int): pass", "def f() -> int: pass", "x: int = 1", "def f(*, a): pass", "f'{x}'", "a @ b",
    "def f():\n x = 1\n def g():\n  nonlocal x", "def f():\n yield from g()", "raise A from b",
    "class A(metaclass=B): pass", "f(*a, *b)", "f(*a, b)", "[*a]", "{**a}", "f(**a, **b)",
])
def test_the_guard_sees_what_is_forbidden(source: str) -> None:
    assert forbidden(ast.parse(source))


def test_the_guard_lets_old_syntax_pass() -> None:
    assert forbidden(ast.parse("def f(a, *b, **c): return g(a, *b, **c)\nraise A\nclass B(object): pass")) == []


def test_board_imports_nothing_of_the_host_at_module_level() -> None:
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "dpuflow" for name in names), path


def test_only_the_emulator_uses_dpuflow() -> None:
    users = {path.name for path in FILES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dpuflow"}
    assert users == {"emulator.py"}


def test_the_boards_own_tests_pass_on_python_2_7() -> None:
    python = os.environ.get("DPUFLOW_PYTHON27")
    if not python:
        pytest.skip("DPUFLOW_PYTHON27 names no Python 2.7 with numpy, opencv-python and pytest<5")
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8",
                   "PYTHONPATH": os.pathsep.join([str(ROOT / "board"), str(Path(__file__).parent)])}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
               "--confcutdir", str(Path(__file__).parent), "--rootdir", str(ROOT), *map(str, PORTABLE_TESTS)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert len(PORTABLE_TESTS) >= 4
