"""Programs written for vart, xir and pynq_dpu run on the stand-ins: same signatures, true conversions."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest

from dpuedge import fixed
from dpuflow import cli
from dpuflow.compat import launch, vart_runner
from dpuflow.compat.pynq_overlay import DpuOverlay
from dpuflow.compat.xir_graph import Graph
from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.xmodel import to_xir
from dpuflow.engines import open_engine
from dpuflow.errors import BackendError, ConfigError, FormatError, GraphError
from dpuflow.formats.xir import write_xmodel
from dpuflow.target.select import find_target

from engines.networks import full_range_input, random_network

THREADS = """
import sys, threading
import numpy as np
import vart, xir

def work(runner, image, results):
    tensors = runner.get_input_tensors(), runner.get_output_tensors()
    shape, result = tuple(tensors[0][0].dims), tuple(tensors[1][0].dims)
    for _ in range(3):
        given, taken = [np.empty(shape, dtype=np.int8, order="C")], [np.empty(result, dtype=np.int8, order="C")]
        given[0][0, ...] = image[0]
        job = runner.execute_async(given, taken)
        runner.wait(job)
    results.append(taken[0])

graph = xir.Graph.deserialize(sys.argv[1])
root = graph.get_root_subgraph()
assert not root.is_leaf
subgraphs = [s for s in root.toposort_child_subgraph() if s.get_attr("device").upper() == "DPU"]
runners = [vart.Runner.create_runner(subgraphs[0], "run") for _ in range(2)]
image, results = np.load(sys.argv[2]), []
threads = [threading.Thread(target=work, args=(runner, image, results)) for runner in runners]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert (results[0] == results[1]).all()
np.save(sys.argv[3], results[0])
sys.exit(7)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A compiled file with one DPU subgraph, an int8 image for it, and what the reference engine gives."""
    folder = tmp_path_factory.mktemp("compat")
    graph = random_network(11)
    compiled = compile_graph(graph, find_target("DPUCZDX8G_ISA1_B1024"), "net")
    path = folder / "net.xmodel"
    write_xmodel(to_xir(compiled), path)
    image = full_range_input(graph, 1, 1)
    expected = open_engine(graph, "reference").run(image, graph.outputs, int8=True)[graph.outputs[0]]
    return types.SimpleNamespace(path=path, image=image, expected=expected, folder=folder)


@pytest.fixture
def runner(model):
    vart_runner.configure()
    return vart_runner.RunnerExt.create_runner(dpu_of(model), "run")


def dpu_of(model, graph=None):
    children = (graph or Graph.deserialize(str(model.path))).get_root_subgraph().toposort_child_subgraph()
    return next(child for child in children if child.get_attr("device") == "DPU")


def test_a_threaded_program_runs_and_its_exit_code_is_kept(model, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(THREADS)
    np.save(tmp_path / "x.npy", model.image)
    command = [sys.executable, "-m", "dpuflow", "compat", "run", str(program), str(model.path), str(tmp_path / "x.npy"),
               str(tmp_path / "y.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert "no DPU runs" in done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy").reshape(model.expected.shape), model.expected)


def test_a_program_s_own_error_keeps_its_lines(tmp_path, capsys):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent("""
        def broken():
            raise KeyError("mine")
        broken()
    """))
    assert cli.main(["compat", "run", str(program)]) == 1
    assert "in broken" in capsys.readouterr().err


def test_the_path_is_given_back(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import xir")
    before = sys.path[:], sys.argv[:]
    launch.run_program(program, ["a"])
    assert (sys.path, sys.argv) == before
    assert "xir" not in sys.modules


def test_real_modules_are_never_replaced(tmp_path, monkeypatch):
    (tmp_path / "vart.py").write_text("real = True")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "program.py").write_text("import vart")
    with pytest.raises(ConfigError, match="never replaced"):
        launch.run_program(tmp_path / "program.py", [])


def test_there_must_be_a_program(tmp_path, capsys):
    assert cli.main(["compat", "run", str(tmp_path / "none.py")]) == 1
    assert "no such program" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["compat", "run"])
    assert cli.main(["compat", "path"]) == 0
    assert capsys.readouterr().out.strip() == str(launch.MODULES)


def test_float_in_is_truncated_and_wrapped_as_the_runtime_does(model, runner):
    source, sink = runner.get_input_tensors()[0], runner.get_output_tensors()[0]
    pos = source.get_attr("fix_point")
    values = (model.image.astype(np.float32) + 0.75) * np.float32(2.0 ** -pos)
    given = np.ascontiguousarray(values, np.float32)
    taken = np.empty(sink.dims, np.int8)
    assert runner.wait(runner.execute_async([given], [taken])) == 0
    cast = np.array([[int(v * 2.0 ** pos) for v in given.reshape(-1).tolist()]]).reshape(given.shape)
    wrapped = ((cast + 128) % 256 - 128).astype(np.int8)
    again = np.empty(sink.dims, np.int8)
    runner.wait(runner.execute_async([wrapped], [again]))
    np.testing.assert_array_equal(taken, again)


def test_float_out_is_the_integers_times_the_step(model, runner):
    sink = runner.get_output_tensors()[0]
    taken = np.empty(sink.dims, np.float32)
    runner.wait(runner.execute_async([model.image.copy()], [taken]))
    np.testing.assert_array_equal(taken.reshape(model.expected.shape),
                                  fixed.dequantize(model.expected, sink.get_attr("fix_point")))


def test_buffers_of_the_extended_runner(model, runner):
    inputs, outputs = runner.get_inputs(), runner.get_outputs()
    np.asarray(inputs[0])[:] = model.image
    job = runner.execute_async(inputs, outputs)
    assert job == (0, 0)
    runner.wait(job)
    np.testing.assert_array_equal(np.asarray(outputs[0]).reshape(model.expected.shape), model.expected)
    assert outputs[0].get_tensor().get_element_num() == model.expected.size


@pytest.mark.parametrize(("change", "text"), [
    (lambda a: a.astype(np.uint8), "type that the runtime does not take"),
    (lambda a: a.astype(np.float64), "type that the runtime does not take"),
    (lambda a: a[:, :-1].copy(), "smaller than its tensor"),
    (lambda a: np.asfortranarray(a), "C-contiguous"),
    (lambda a: np.lib.stride_tricks.as_strided(a, writeable=False), "writable"),
])
def test_where_the_real_one_aborts_the_stand_in_raises(model, runner, change, text):
    taken = np.empty(runner.get_output_tensors()[0].dims, np.int8)
    with pytest.raises(BackendError, match=text):
        runner.execute_async([change(model.image)], [taken])


def test_other_misuse_is_named(model, runner):
    with pytest.raises(BackendError, match="no such job"):
        runner.wait((5, 0))
    with pytest.raises(BackendError, match="wrong number of inputs"):
        runner.execute_async([], [])
    user = next(c for c in Graph.deserialize(str(model.path)).get_root_subgraph().get_children()
                if c.get_attr("device") == "USER")
    with pytest.raises(BackendError, match="has no runner"):
        vart_runner.Runner.create_runner(user, "run")
    with pytest.raises(BackendError, match="no such mode"):
        vart_runner.Runner.create_runner(dpu_of(model), "walk")
    with pytest.raises(FormatError):
        Graph.deserialize(__file__)


def test_strict_aborts_the_process(model, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import vart\nvart.Runner.create_runner(None, 'run')")
    command = [sys.executable, "-m", "dpuflow", "compat", "run", "--strict", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -6
    assert "not a subgraph" in done.stderr


def test_the_graph_is_walked_with_the_binding_s_types(model):
    graph = Graph.deserialize(str(model.path))
    root, dpu = graph.get_root_subgraph(), dpu_of(model, graph)
    assert isinstance(root.get_children(), set)
    assert isinstance(root.toposort_child_subgraph(), list)
    assert root.is_root and dpu.get_parent().get_name() == root.get_name() and dpu.depth == 1
    conv = next(op for op in dpu.toposort() if op.get_type() == "conv2d-fix")
    assert isinstance(conv.get_attr("kernel"), list)
    weights = conv.get_input_op("weights")
    assert weights.get_type() == "const-fix"
    assert conv in weights.get_fanout_ops()
    assert graph.get_leaf_subgraph(conv).has_op(conv)
    assert graph.get_tensor(conv.get_output_tensor().name).producer is conv
    (source,) = (t for t in dpu.get_input_tensors() if t.producer.get_type() == "data-fix")
    assert (source.dtype, list(source.ndim), int(source.ndim)) == ("xint8", source.dims, 4)
    with pytest.raises(GraphError, match="no attribute"):
        conv.get_attr("colour")


def test_changed_attributes_are_written(model, tmp_path):
    graph = Graph.deserialize(str(model.path))
    graph.set_attr("note", "checked").set_attr("numbers", [1, 2])
    tensor = next(iter(graph.get_head_ops())).get_output_tensor()
    tensor.set_attr("mark", 3)
    graph.serialize(str(tmp_path / "again.xmodel"))
    again = Graph.deserialize(str(tmp_path / "again.xmodel"))
    assert (again.get_attr("note"), again.get_attr("numbers")) == ("checked", [1, 2])
    assert again.get_tensor(tensor.name).get_attr("mark") == 3
    assert again.get_root_subgraph().get_op_num() == graph.get_op_num()


def test_an_overlay_loads_a_model(model, tmp_path):
    overlay = DpuOverlay(str(model.folder / "dpu.bit"))
    overlay.load_model("net.xmodel")
    taken = np.empty(overlay.runner.get_output_tensors()[0].dims, np.int8)
    overlay.runner.wait(overlay.runner.execute_async([model.image.copy()], [taken]))
    np.testing.assert_array_equal(taken.reshape(model.expected.shape), model.expected)
    with pytest.raises(ValueError, match="does not exist"):
        overlay.load_model("other.xmodel")
