"""Virtual programs: text and bytes both ways, the reference engine's bits, a verifier that sees damage."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow import cli
from dpuflow.compiler.driver import compile_graph
from dpuflow.engines.program import ProgramEngine
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import CompileError, DpuError, EngineError, FormatError
from dpuflow.program.instructions import OPERATIONS, Instruction, decode, encode, from_text, make, to_text
from dpuflow.program.machine import Machine
from dpuflow.program.schedule import schedule_kernel
from dpuflow.program.verify import verify_program
from dpuflow.target.select import find_target
from dpuflow.target.table import named_targets
from dpuflow.zoo import quantized_network

from engines.networks import full_range_input, random_network

SMALL = st.integers(-(2**31), 2**31 - 1)


@st.composite
def instructions(draw):
    op = draw(st.sampled_from(sorted(OPERATIONS)))
    count = len(OPERATIONS[op][2])
    return Instruction(op, draw(st.integers(0, 15)), draw(st.integers(0, 15)), draw(st.integers(0, 10**6)),
                       tuple(draw(st.lists(SMALL, min_size=count, max_size=count))))


@given(st.lists(instructions(), max_size=5))
@settings(max_examples=60)
def test_text_and_bytes_go_both_ways(made):
    assert from_text(to_text(made)) == tuple(made)
    assert decode(encode(made)) == tuple(made)


@given(st.binary(max_size=80), st.lists(instructions(), min_size=1, max_size=2), st.integers(0, 10**6))
@settings(max_examples=150)
def test_damaged_bytes_are_a_typed_error_or_another_program(noise, made, at):
    whole = encode(made)
    cut = at % len(whole)
    for data in (noise, whole[:cut], whole[:cut] + noise):
        with contextlib.suppress(FormatError):
            assert isinstance(decode(data), tuple)


@pytest.mark.parametrize("text", ["walk wait=- signal=- layer=0", "load_bias wait=MOON signal=- layer=0",
                                  "load_bias wait=- signal=- layer=0 offset=1", "conv", "load_bias wait=- signal=-"])
def test_lines_that_are_no_instruction(text):
    with pytest.raises(FormatError, match="line 1|wrong fields"):
        from_text(text)


def test_operation_codes_are_unique():
    codes = [code for code, _, _ in OPERATIONS.values()]
    assert len(set(codes)) == len(codes)


def engine_or_none(graph, core):
    with contextlib.suppress(CompileError):
        compiled = compile_graph(graph, core, "net")
        assert compiled.dpu_kernels
        return ProgramEngine(graph, core)
    return None


@given(st.integers(0, 10**6), st.sampled_from(sorted(named_targets())))
@settings(max_examples=120)
def test_the_program_gives_the_reference_s_bits(seed, target):
    graph = random_network(seed)
    engine = engine_or_none(graph, find_target(target))
    if engine is None:
        return
    x = full_range_input(graph, seed, 2)
    got, expected = engine.run(x, graph.outputs, int8=True), ReferenceEngine(graph).run(x, graph.outputs, int8=True)
    for name in graph.outputs:
        np.testing.assert_array_equal(got[name], expected[name])


@pytest.mark.parametrize("target", ["zedboard", "DPUCZDX8G_ISA1_B4096", "DPUCZDX8G_ISA0_B512_MIN"])
@pytest.mark.parametrize("name", ["chars74k", "lenet", "captcha-conv"])
def test_networks_of_the_zoo(name, target):
    graph = quantized_network(name)
    engine = ProgramEngine(graph, find_target(target))
    x = full_range_input(graph, 3, 1)
    got, expected = engine.run(x, graph.outputs, int8=True), ReferenceEngine(graph).run(x, graph.outputs, int8=True)
    for output in graph.outputs:
        np.testing.assert_array_equal(got[output], expected[output])


def small_program(seed=11, target="DPUCZDX8G_ISA1_B1024"):
    compiled = compile_graph(random_network(seed), find_target(target), "net")
    return compiled, schedule_kernel(compiled, compiled.dpu_kernels[0])


def outputs(program, graph, seed=5):
    """What the machine leaves in the output register for a random input."""
    machine, chance = Machine(program), np.random.default_rng(seed)
    machine.ddr[2][:] = chance.integers(-128, 128, machine.ddr[2].size)
    machine.run()
    return machine.ddr[3].copy()


@pytest.mark.parametrize("seed", [3, 11, 17])
def test_every_damage_of_an_instruction_shows(seed):
    """Each field of each instruction moved by one: the verifier, the machine or the bits must tell."""
    compiled, program = small_program(seed)
    expected = outputs(program, compiled.graph)
    unseen = []
    for at, instruction in enumerate(program.instructions):
        for field, name in enumerate(OPERATIONS[instruction.op][2]):
            values = list(instruction.values)
            values[field] += 1
            damaged = replace(instruction, values=tuple(values))
            made = replace(program, instructions=(*program.instructions[:at], damaged, *program.instructions[at + 1:]))
            try:
                verify_program(made)
                if np.array_equal(outputs(made, compiled.graph), expected):
                    unseen.append((at, instruction.op, name, instruction.fields[name]))
            except (DpuError, ValueError, IndexError):
                pass
    assert {(op, name) for _, op, name, _ in unseen} <= HARMLESS, unseen


# Fields whose change by one can leave every bit as it was: a row or column more than is needed, the position that only
# tells relu6 where 6 lies (the shift is a field of its own), a nonlinearity or a bias that no value shows.
HARMLESS = {
    ("load_map", "rows"), ("load_map", "cols"),
    *((op, field) for op in ("conv", "dwconv") for field in ("out_pos", "has_bias")),
    *((op, "nonlinear") for op in ("conv", "dwconv", "add", "mul")),
}


def test_missing_and_turned_tokens_are_seen():
    _, program = small_program()
    for at, instruction in enumerate(program.instructions):
        for change in ({"wait": 0}, {"signal": 0}, {"wait": 15}, {"signal": instruction.signal ^ 1}):
            damaged = replace(instruction, **change)
            if damaged == instruction:
                continue
            made = replace(program, instructions=(*program.instructions[:at], damaged, *program.instructions[at + 1:]))
            with pytest.raises(CompileError):
                verify_program(made)


def test_left_out_and_doubled_instructions_are_seen():
    compiled, program = small_program()
    steps, expected = program.instructions, outputs(program, compiled.graph)
    for at in range(len(steps)):
        made = replace(program, instructions=steps[:at] + steps[at + 1:])
        try:
            verify_program(made)
            assert not np.array_equal(outputs(made, compiled.graph), expected), at
        except CompileError:
            pass
        if steps[at].wait or steps[at].signal:  # loading the same once more is harmless
            with pytest.raises(CompileError):
                verify_program(replace(program, instructions=(*steps[:at + 1], *steps[at:])))


def test_a_deadlock_ends_in_an_error():
    _, program = small_program()
    bias = make("load_bias", 0, {"offset": 0, "base": 0, "channels": 1}, wait=8)
    stuck = replace(program, instructions=(bias, *program.instructions))
    with pytest.raises(CompileError, match="wait for each other"):
        verify_program(stuck)
    with pytest.raises(EngineError, match="wait for each other"):
        Machine(stuck).run()


def test_the_command_prints_and_writes(tmp_path, capsys):
    assert cli.main(["program", "zoo:lenet", "--text", "-o", str(tmp_path / "p.bin")]) == 0
    text = capsys.readouterr().out
    assert "verified" in text
    lines = [line for line in text.splitlines() if line.split(" ")[0] in OPERATIONS]
    assert decode((tmp_path / "p.bin").read_bytes()) == from_text("\n".join(lines))


def test_every_operation_and_field_is_documented():
    from dpuflow.program.banks import BOX
    from dpuflow.program.instructions import FIELD_MEANINGS, MEANINGS, OPERAND_PREFIXES

    assert set(MEANINGS) == set(OPERATIONS)
    prefixes = ("out_", *OPERAND_PREFIXES)
    for _, _, fields in OPERATIONS.values():
        for field in fields:
            plain = [field.removeprefix(prefix) for prefix in prefixes if field.startswith(prefix)]
            assert (field in FIELD_MEANINGS or any(name in BOX and name in FIELD_MEANINGS for name in plain)
                    or field.rstrip("0123") in FIELD_MEANINGS), field


def test_compile_keeps_the_program_in_the_file(tmp_path, capsys):
    from dpuflow.formats.xir import read_xmodel

    out = tmp_path / "lenet.xmodel"
    assert cli.main(["compile", "zoo:lenet", "-o", str(out)]) == 0
    assert "the simple fixed schedule takes" in capsys.readouterr().out
    (subgraph,) = read_xmodel(out).dpu_subgraphs
    compiled = compile_graph(quantized_network("lenet"), find_target("zedboard"), "lenet")
    (program,) = (schedule_kernel(compiled, kernel) for kernel in compiled.dpu_kernels)
    assert decode(bytes(subgraph.get("dpuflow_program", b""))) == program.instructions
    assert subgraph.get("mc_code", b"") == b""
    capsys.readouterr()
    assert cli.main(["program", str(out)]) == 0
    assert f"compiled to: {len(program.instructions)} virtual instructions" in capsys.readouterr().out
    assert cli.main(["compile", str(out), "--target", "zcu102", "-o", str(tmp_path / "other.xmodel")]) == 0
    assert "B1152_01000020E6010103; its network is compiled anew for zcu102" in capsys.readouterr().err


def test_a_search_without_time_says_so_and_is_no_slower_than_the_baseline(tmp_path, capsys):
    assert cli.main(["compile", "zoo:squeezenet", "-o", str(tmp_path / "s.xmodel"), "--time-limit", "0"]) == 0
    assert "the search was cut off after 0 s" in capsys.readouterr().out
    compiled = compile_graph(quantized_network("squeezenet"), find_target("zedboard"), "s")
    for kernel in compiled.dpu_kernels:
        cut_off, searched = (schedule_kernel(compiled, kernel, time_limit_s=limit) for limit in (0.0, None))
        assert searched.timeline.total_cycles <= 1.02 * cut_off.timeline.total_cycles
        assert cut_off.timeline.total_cycles <= cut_off.baseline_cycles


@pytest.mark.parametrize("limit", ["-1", "nan", "inf"])
def test_a_time_limit_that_is_none(limit, tmp_path, capsys):
    assert cli.main(["compile", "zoo:lenet", "-o", str(tmp_path / "s.xmodel"), f"--time-limit={limit}"]) == 1
    assert "--time-limit" in capsys.readouterr().err
