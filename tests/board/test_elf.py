# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""DNNDK model files: what they say, and what is wrong with damaged ones. Python 2.7 and 3.5+."""
import random
import struct

import elf_builder
import pytest

from dpuedge import elf
from dpuedge.errors import ElfError


@pytest.mark.parametrize("bits,machine", [(32, "arm32"), (64, "arm64")])
def test_everything_but_the_code_is_read(bits, machine):
    found = elf.read(elf_builder.tiny(bits))
    assert (found.bits, found.machine) == (bits, machine)
    (kernel,) = found.kernels
    assert (kernel.name, kernel.arch, kernel.compiler, kernel.mode) == ("tiny", "dpuv2", "dnnc version v3.00", "normal")
    assert kernel.core["pixel_parallel"] == 4
    assert kernel.core["output_channel_parallel"] == 12
    assert kernel.core["target_version"] == 0x140
    conv, dense = kernel.nodes
    assert (conv.name, conv.work, conv.inputs, conv.outputs, conv.successors) == ("net_conv", 128, (0,), (1,), (1,))
    bias, weights = dense.parameters
    assert (bias.offset, bias.size_bytes, bias.fix_point) == (6, 2, 9)
    assert (weights.name, weights.fix_point, weights.dims) == ("net_dense_weights", -1, (2, 1, 1, 2))
    assert kernel.parameters[weights.offset:][:4] == b"\x01\xff\x02\x03"
    assert (kernel.tensors[0].height, kernel.tensors[0].channels, kernel.tensors[2].fix_point) == (4, 2, 3)
    assert kernel.code_bytes == 16
    assert elf.boundary(kernel) == (("net_conv",), ("net_dense",))


def test_several_kernels_stand_in_one_file():
    strings = elf_builder.Strings()
    sections = elf_builder.kernel_sections("n_0", [], [], b"", 0, strings)
    sections.update(elf_builder.kernel_sections("n_2", [], [], b"", 0, elf_builder.Strings(), mode=1))
    found = elf.read(elf_builder.elf(sections))
    assert [(kernel.name, kernel.mode) for kernel in found.kernels] == [("n_0", "normal"), ("n_2", "debug")]


@pytest.mark.parametrize("data,text", [
    (b"", "not an ELF file"),
    (b"MZ" + b"\0" * 100, "not an ELF file"),
    (b"\x7fELF\x03\x01\x01" + b"\0" * 100, "unknown kind"),
    (elf_builder.elf({".text": b"x"}, 64, machine=62), "another processor"),
    (elf_builder.elf({".text": b"x"}), "no DPU kernel"),
    (elf_builder.elf({".deephi.strtab.k": b"\0"}), "sections of a kernel are missing"),
    (elf_builder.tiny(abi=0x10700), "another version of the format"),
])
def test_what_is_none_is_named(data, text):
    with pytest.raises(ElfError) as caught:
        elf.read(data, "file.elf")
    assert text in str(caught.value)
    assert "file.elf" in str(caught.value)


def test_lying_counts_are_named():
    strings = elf_builder.Strings()
    many = struct.pack("<IIII", 1, 1, 0, 0) + struct.pack("<I", 0xffffffff)
    sections = elf_builder.kernel_sections("k", [many], [], b"", 0, strings)
    with pytest.raises(ElfError) as caught:
        elf.read(elf_builder.elf(sections))
    assert "a list is longer than its table" in str(caught.value)
    beyond = elf_builder.node(strings, "n", 1, [7], [], [])
    with pytest.raises(ElfError) as caught:
        elf.read(elf_builder.elf(elf_builder.kernel_sections("k", [beyond], [], b"", 0, strings)))
    assert "a tensor that is not there" in str(caught.value)
    outside = elf_builder.node(strings, "n", 1, [], [], [("w", 0, 99, 1, (1, 1, 1, 1))])
    with pytest.raises(ElfError) as caught:
        elf.read(elf_builder.elf(elf_builder.kernel_sections("k", [outside], [], b"abc", 0, strings)))
    assert "parameters lie outside" in str(caught.value)


def test_a_missing_file_is_named(tmpdir):
    with pytest.raises(ElfError) as caught:
        elf.read_file(str(tmpdir.join("none.elf")))
    assert "cannot read" in str(caught.value)


@pytest.mark.parametrize("bits", [32, 64])
def test_every_damage_is_an_error_or_harmless(bits):
    whole = elf_builder.tiny(bits)
    for length in range(len(whole)):
        with pytest.raises(ElfError):
            elf.read(whole[:length])
    chance = random.Random(7)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 255, 128, chance.randrange(256)])
        try:
            elf.read(bytes(data))
        except ElfError:
            pass
