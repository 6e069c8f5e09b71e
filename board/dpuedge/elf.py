"""The container of DNNDK's compiled models (``.elf``, ``.so``): everything but the instruction words.

Layout: board specification, section 5 (ABI 2.0). Both ELF classes hold the same sections, all
little-endian. The code section is opaque and is never decoded. Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

import struct
from collections import namedtuple

from dpuedge.errors import ElfError

MACHINES = {40: "arm32", 183: "arm64"}
PREFIX = ".deephi."
PARTS = ("strtab", "metadata", "configurable", "tensor", "node", "parameter", "code")
ABI = 0x20000
NOT_THIS = "give a model that dnnc of DNNDK 3.1 wrote"

# Word of the section "configurable" -> what it says about the core; the runtime compares these at load.
CONFIGURABLE = (
    (4, "ip_type"), (5, "register_map"), (10, "target_version"), (15, "hp_width_bits"), (16, "data_width"),
    (17, "image_bank_groups"), (18, "pixel_parallel"), (19, "input_channel_parallel"),
    (20, "output_channel_parallel"), (25, "mean_ram_depth"), (26, "bias_ram_depth"), (27, "weight_ram_depth"),
    (28, "image_ram_depth"), (33, "channel_augmentation"), (34, "mean_option"), (39, "leaky_relu"), (40, "relu6"),
    (41, "conv_write_parallel"), (46, "average_pool"), (51, "eltwise"), (56, "depthwise_alu"),
    (57, "depthwise_relu6"), (58, "depthwise_parallel"), (63, "load_misc_parallel"),
)
BOUNDARY_IN, BOUNDARY_OUT = 2, 4  # kinds of a tensor; 1 is an inner one
REAL_NODE, VIRTUAL_NODE, CPU_NODE = 1, 2, 0x80

Elf = namedtuple("Elf", "bits machine kernels")
Kernel = namedtuple("Kernel", "name arch compiler mode io_bytes means abi memory_mode core tensors nodes parameters "
                              "code_bytes")
Tensor = namedtuple("Tensor", "kind height width channels offset size_bytes fix_width fix_point channel_stride")
Parameter = namedtuple("Parameter", "name offset size_bytes fix_width fix_point dims")
Node = namedtuple("Node", "kind name work inputs outputs code_bytes parameters predecessors successors")


def read(data, where="elf"):
    """The :class:`Elf` in ``data`` (bytes): class, machine and all kernels; ElfError for what is none."""
    bits, machine, sections = _sections(data, where)
    parts = {}
    for name, content in sections:
        if name.startswith(PREFIX):
            part, _, kernel = name[len(PREFIX):].partition(".")
            if part in PARTS and kernel:
                parts.setdefault(kernel, {})[part] = content
    if not parts:
        raise ElfError("no DPU kernel in this file", where=where, expected="sections %s<part>.<kernel>" % PREFIX,
                       remedy=NOT_THIS)
    kernels = tuple(_kernel(name, parts[name], "%s: kernel '%s'" % (where, name)) for name in sorted(parts))
    return Elf(bits, machine, kernels)


def read_file(path):
    """The :class:`Elf` of a file; ElfError when it cannot be read or is none."""
    try:
        with open(path, "rb") as stream:
            return read(stream.read(), path)
    except (IOError, OSError) as error:
        raise ElfError("cannot read the model (%s)" % (error.strerror or error), where=path)


def boundary(kernel):
    """Names of the first and the last node: those that read boundary inputs and yield boundary outputs."""
    inputs = _boundary(kernel, "inputs", BOUNDARY_IN)
    outputs = _boundary(kernel, "outputs", BOUNDARY_OUT)
    return inputs, outputs


def _boundary(kernel, side, kind):
    return tuple(node.name for node in kernel.nodes
                 if any(kernel.tensors[index].kind & kind for index in getattr(node, side)))


# -- the ELF file itself ------------------------------------------------------------------------------

_HEADS = {1: (32, "<HHIIIIIHHHHHH", "<IIIIIIIIII"), 2: (64, "<HHIQQQIHHHHHH", "<IIQQQQIIQQ")}


def _sections(data, where):
    if len(data) < 20 or data[:4] != b"\x7fELF":
        raise ElfError("not an ELF file", where=where, got="%d bytes" % len(data), remedy=NOT_THIS)
    kind, order = bytearray(data[4:6])
    if kind not in _HEADS or order != 1:
        raise ElfError("an ELF file of an unknown kind", where=where, got="class %d, byte order %d" % (kind, order),
                       expected="class 1 or 2, little-endian")
    bits, head, entry = _HEADS[kind]
    fields = _unpack(head, data, 16, where)
    machine, table, size, count, names = fields[1], fields[5], fields[10], fields[11], fields[12]
    if machine not in MACHINES:
        raise ElfError("an ELF file for another processor", where=where, got="machine %d" % machine,
                       expected="40 (ARM) or 183 (AArch64)")
    if size < struct.calcsize(entry) or not count or names >= count or table + size * count > len(data):
        raise ElfError("the section table lies outside the file", where=where, got="%d sections" % count,
                       remedy="the file is cut short: copy it again")
    rows = [_unpack(entry, data, table + size * index, where) for index in range(count)]
    text = _content(data, rows[names], where)
    return bits, MACHINES[machine], [(_string(text, row[0], where), _content(data, row, where)) for row in rows]


def _content(data, row, where):
    kind, offset, size = row[1], row[4], row[5]
    if kind in (0, 8):  # SHT_NULL, SHT_NOBITS: nothing in the file
        return data[:0]
    if offset + size > len(data):
        raise ElfError("a section lies outside the file", where=where, got="bytes %d to %d of %d" % (
            offset, offset + size, len(data)), remedy="the file is cut short: copy it again")
    return data[offset:offset + size]


def _unpack(form, data, offset, where):
    if offset < 0 or offset + struct.calcsize(form) > len(data):
        raise ElfError("the file ends too early", where=where, remedy="the file is cut short: copy it again")
    return struct.unpack_from(form, data, offset)


def _string(text, offset, where):
    end = text.find(b"\0", offset)
    if not 0 <= offset < len(text) or end < 0:
        raise ElfError("a name lies outside the string table", where=where, got=offset)
    return text[offset:end].decode("utf-8", "replace")


# -- one kernel ---------------------------------------------------------------------------------------

def _kernel(name, parts, where):
    missing = [part for part in PARTS if part not in parts]
    if missing:
        raise ElfError("sections of a kernel are missing", where=where, got=", ".join(missing),
                       remedy="ABIs before 1.7 are not read: compile with DNNDK 3.1")
    text = parts["strtab"]
    words = _Words(parts["metadata"], where + ", metadata").take(12)
    if words[9] != ABI:
        raise ElfError("another version of the format", where=where, got="ABI 0x%x" % words[9],
                       expected="0x%x" % ABI, remedy="compile with DNNDK 3.1")
    if words[4] != 52:
        raise ElfError("tensor records of an unknown size", where=where, got=words[4], expected=52)
    tensors = _tensors(parts["tensor"], where + ", tensors")
    nodes = _nodes(parts["node"], words[3], text, len(tensors), len(parts["parameter"]), where + ", nodes")
    return Kernel(name, _string(text, words[0], where), _string(text, words[1], where),
                  "debug" if words[2] else "normal", words[5], words[6:9], words[9], words[11],
                  _core(parts["configurable"], where + ", configurable"), tensors, nodes, parts["parameter"],
                  len(parts["code"]))


def _core(data, where):
    words = _Words(data, where).take(68)
    return dict((name, words[index]) for index, name in CONFIGURABLE)


def _tensors(data, where):
    if len(data) % 52:
        raise ElfError("the tensor table is not whole records", where=where, got="%d bytes" % len(data),
                       expected="a multiple of 52")
    rows = [struct.unpack_from("<7Ii5I", data, at) for at in range(0, len(data), 52)]
    return tuple(Tensor(*row[:9]) for row in rows)


def _nodes(data, count, text, tensors, parameter_bytes, where):
    words = _Words(data, where)
    if count > len(data) // 16:
        raise ElfError("more nodes than their table can hold", where=where, got=count)
    nodes = tuple(_node(words, text, parameter_bytes, where) for _ in range(count))
    if words.left():
        raise ElfError("the node table is longer than its nodes", where=where, got="%d words more" % words.left())
    for node in nodes:
        for index in node.inputs + node.outputs:
            if index >= tensors:
                raise ElfError("a node names a tensor that is not there", where="%s: %s" % (where, node.name),
                               got=index, expected="below %d" % tensors)
        for index in node.predecessors + node.successors:
            if index >= count:
                raise ElfError("a node names a neighbour that is not there", where="%s: %s" % (where, node.name),
                               got=index, expected="below %d" % count)
    return nodes


def _node(words, text, parameter_bytes, where):
    kind, name, low, high = words.take(4)
    words.records(1)  # data types and registers
    inputs, outputs = words.records(1), words.records(1)
    code = words.records(4)
    parameters = words.records(10)
    before, after = words.records(1), words.records(1)
    name = _string(text, name, where)
    return Node(kind, name, low + high * 2 ** 32, _flat(inputs), _flat(outputs), sum(row[1] for row in code),
                tuple(_parameter(row, text, parameter_bytes, "%s: %s" % (where, name)) for row in parameters),
                _flat(before), _flat(after))


def _parameter(row, text, parameter_bytes, where):
    offset, size, width, point, name = row[:5]
    if offset + size > parameter_bytes:
        raise ElfError("parameters lie outside their section", where=where, got="bytes %d to %d of %d" % (
            offset, offset + size, parameter_bytes))
    return Parameter(_string(text, name, where), offset, size, width, point - (point >= 2 ** 31) * 2 ** 32, row[6:10])


def _flat(records):
    return tuple(record[0] for record in records)


class _Words(object):
    """Reads little-endian 32-bit words one after another."""

    def __init__(self, data, where):
        self.data = data
        self.where = where
        self.at = 0

    def take(self, count):
        """The next ``count`` words."""
        if self.at + 4 * count > len(self.data):
            raise ElfError("a table ends too early", where=self.where, got="%d bytes" % len(self.data),
                           expected="at least %d" % (self.at + 4 * count))
        words = struct.unpack_from("<%dI" % count, self.data, self.at)
        self.at += 4 * count
        return words

    def records(self, size):
        """A count and that many records of ``size`` words."""
        (count,) = self.take(1)
        if count > self.left() // size:
            raise ElfError("a list is longer than its table", where=self.where, got=count)
        return tuple(self.take(size) for _ in range(count))

    def left(self):
        """Words not yet read."""
        return (len(self.data) - self.at) // 4
