"""DNNDK files as networks: parameters as arrays, geometry from the records, the effective bias rule."""

from __future__ import annotations

import numpy as np
import pytest
from formats.elf_networks import chain, elf_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuedge import elf
from dpuedge.errors import DpuError
from dpuflow import cli
from dpuflow.describe.describe import describe
from dpuflow.describe.description import as_text
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import FormatError, GraphError
from dpuflow.formats.dnndk import elf_arrays, kernel_of, kernel_size
from dpuflow.formats.dnndk_import import import_kernel, import_kernel_like
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.model import DNNDK, load
from dpuflow.ops.conv import ConvAttrs

from engines.networks import full_range_input


def prerounded(graph: Graph) -> Graph:
    """Each bias that is finer than its accumulator rounded half up to it (arithmetic specification, section 4)."""
    replaced = {}
    for node in graph.nodes:
        if node.op in ("conv2d", "dense"):
            x, w, b = graph.operands(node)
            fine = b.fix.pos - x.fix.pos - w.fix.pos
            if fine > 0:
                replaced[b.name] = const(b.name, np.floor(b.data / 2.0**fine + 0.5).astype(np.int8),
                                         Fix(b.fix.pos - fine))
    return graph.replace(replaced.get(node.name, node) for node in graph.nodes)


@pytest.mark.filterwarnings("ignore:net. the file does not say")
@pytest.mark.parametrize("head", ["dense", "mean"])
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("fine", [0, 3, 7])
def test_a_file_runs_from_its_records_and_with_its_graph(bits, head, fine):
    graph = chain(bits + fine, fine, head)
    expected = prerounded(graph)
    kernel = elf.read(elf_of(graph, bits)).kernels[0]
    x = full_range_input(graph, fine)
    want = ReferenceEngine(expected).run(x, int8=True)["d"]
    assert len(np.unique(want)) > 10
    alone = import_kernel(kernel)
    assert np.array_equal(want.reshape(-1), ReferenceEngine(alone).run(x, int8=True)["net_d_MatMul"].reshape(-1))
    like = import_kernel_like(kernel, graph)
    assert np.array_equal(want, ReferenceEngine(like).run(x, int8=True)["d"])


@pytest.mark.filterwarnings("ignore:net. the file does not say")
def test_the_effective_bias_rule():
    """Arithmetic specification, section 4: 15 + shr(1, 1) = 16, and 16 / 32 rounds to 1; exactly it would be 0."""
    x = Node("x", "input", shape=(1, 1, 1, 2), fix=Fix(2))
    weights = const("w", np.array([[3], [3]], np.int8).reshape(1, 1, 2, 1), Fix(6))
    bias = const("b", np.array([1], np.int8), Fix(9))
    graph = verify(infer_shapes(Graph("net", (
        x, weights, bias, Node("y", "conv2d", ("x", "w", "b"), ConvAttrs(), fix=Fix(3))), ("y",))))
    values = np.array([5, 0], np.int8).reshape(1, 1, 1, 2)
    kernel = elf.read(elf_of(graph)).kernels[0]
    assert kernel.nodes[0].parameters[0].fix_point == 9  # the record is unchanged
    assert ReferenceEngine(import_kernel(kernel)).run(values, int8=True)["y"].item() == 1
    assert ReferenceEngine(import_kernel_like(kernel, graph)).run(values, int8=True)["y"].item() == 1
    assert ReferenceEngine(graph).run(values, int8=True)["y"].item() == 0


def test_parameters_and_positions_are_the_file_s():
    other = chain(1)
    like = import_kernel_like(elf.read(elf_of(chain(2, 2))).kernels[0], other)
    source = prerounded(chain(2, 2))
    for node in source.nodes:
        if node.data is not None:
            assert np.array_equal(like.node(node.name).data, node.data)
            assert like.node(node.name).fix == node.fix


def test_what_is_assumed_is_said():
    with pytest.warns(UserWarning, match="net_c1_Conv2D: relu; net_c2_Conv2D: relu; net_c2_Conv2D: max_pool 2x2"):
        graph = import_kernel(elf.read(elf_of(chain(0))).kernels[0])
    assert graph.node("net_c1_Conv2D").attrs.stride == (2, 2)
    assert tuple(graph.node("net_c1_Conv2D").attrs.padding) == (0, 1, 0, 1)


def test_arrays():
    graph = chain(4)
    arrays = elf_arrays(elf.read(elf_of(graph)))
    assert np.array_equal(arrays["net/net_c1_Conv2D_weights"], graph.node("c1/w").data.transpose(3, 0, 1, 2))
    assert np.array_equal(arrays["net/net_d_MatMul_weights"].reshape(10, -1), graph.node("d/w").data.T)
    assert np.array_equal(arrays["net/net_d_MatMul_bias"], graph.node("d/b").data)


@pytest.mark.parametrize(("dims", "size"), [
    ((3, 5, 4, 6), (3, 5)),  # TensorFlow: (h, w, in, out)
    ((6, 3, 5, 4), (3, 5)),  # a dense layer: (out, h, w, in)
    ((6, 4, 3, 5), (3, 5)),  # caffe: (out, in, h, w)
])
def test_the_words_of_three_front_ends(dims, size):
    record = elf.Parameter("n_weights", 0, 3 * 5 * 4 * 6, 8, 0, dims)
    assert kernel_size(record, 4, 6, "n") == size


def test_weights_that_fit_nothing():
    with pytest.raises(GraphError, match="dimensions do not fit"):
        kernel_size(elf.Parameter("n_weights", 0, 36, 8, 0, (3, 3, 4, 1)), 4, 4, "n")


def changed(old: bytes, new: bytes, data: bytes) -> elf.Kernel:
    assert data.count(old) >= 1
    return elf.read(data.replace(old, new)).kernels[0]


def test_why_not():
    data = elf_of(chain(0))
    work = (2 * 8 * 6 * 9 * 3 * 5).to_bytes(4, "little")
    lying = changed(work, (7).to_bytes(4, "little"), data)
    with pytest.raises(GraphError, match="no whole number of pixels"):
        import_kernel(lying)
    renamed = changed(b"net_c1_Conv2D\0", b"net_c1_Conv3D\0", data)
    with pytest.raises(GraphError, match="no layer of that name.*c1_Conv3D"):
        import_kernel_like(renamed, chain(0))
    mean = elf.read(elf_of(chain(0, head="mean"))).kernels[0]
    with pytest.raises(GraphError, match="no layer of that name.*c4"):
        import_kernel_like(mean, chain(0))


def test_several_kernels():
    import elf_builder

    data = elf_builder.tiny(32, "first")
    assert kernel_of(elf.read(data), None, "f").name == "first"
    with pytest.raises(FormatError, match="no such kernel: expected first, got second"):
        kernel_of(elf.read(data), "second", "f")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "dpu_net.elf").write_bytes(elf_of(chain(3, 5)))
    (tmp_path / "libdpumodelnet.so").write_bytes(elf_of(chain(3, 5), 64))
    return tmp_path


@pytest.mark.filterwarnings("ignore:net. the file does not say")
def test_model_files(files, capsys):
    assert load(files / "dpu_net.elf").kind == DNNDK
    made = describe(files / "libdpumodelnet.so")
    text = as_text(made)
    assert "compiled for B1152" in text
    assert "ELF64, arm64" in text
    assert "dnnc version" in text
    assert "stored rounded: effective position" in str([layer.notes for layer in made.layers])
    assert made.outputs == ("net_d_MatMul",)
    assert cli.main(["show", str(files / "dpu_net.elf"), "--html", str(files / "e.html")]) == 0
    np.save(files / "x.npy", np.zeros((2, 16, 12, 3), np.float32))
    assert cli.main(["emulate", str(files / "dpu_net.elf"), "--input", str(files / "x.npy"), "--output",
                     str(files / "y.npz"), "--engine", "reference"]) == 0
    with np.load(files / "y.npz") as archive:
        assert archive["net_d_MatMul"].shape == (2, 1, 1, 10)


WHOLE = elf_of(chain(0))
ODD = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\1\0\0\0", b"\xff\xff\xff\x7f"]


@pytest.mark.filterwarnings("ignore:.*the file does not say")
@given(st.data())
@settings(max_examples=150)
def test_damaged_files_are_networks_or_typed_errors(data):
    mutated = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated) - 5))
        mutated[at:at + 4] = data.draw(st.sampled_from(ODD))
    try:
        graph = import_kernel(elf.read(bytes(mutated)).kernels[0])
        if max(np.prod(node.shape) for node in graph.nodes) < 1 << 16:
            ReferenceEngine(graph).run({node.name: np.zeros(node.shape, np.float32) for node in graph.inputs})
    except DpuError:
        return
    assert graph.outputs
