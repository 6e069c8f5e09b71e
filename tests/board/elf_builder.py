# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""Writes DNNDK model files from the documented layout, for tests. Python 2.7 and 3.5+."""
import struct

ZEDBOARD_WORDS = {4: 1, 5: 1, 10: 0x140, 15: 64, 16: 1, 17: 2, 18: 4, 19: 12, 20: 12, 25: 32, 26: 2048, 27: 2048,
                  28: 2048, 33: 1, 39: 0, 40: 1, 41: 1, 46: 1, 51: 1, 56: 0, 57: 1, 58: 0, 63: 2}


class Strings(object):
    """A string table that hands out offsets."""

    def __init__(self):
        self.data = b"\0"

    def add(self, text):
        """The offset of a text."""
        at = len(self.data)
        self.data += text.encode("utf-8") + b"\0"
        return at


def tensor(kind, height, width, channels, fix_point, offset=0):
    """A tensor record: 13 words."""
    size = height * width * channels
    return struct.pack("<7Ii5I", kind, height, width, channels, offset, size, 8, fix_point, channels, 0, 0, 0, 0)


def records(rows):
    """A count and its records."""
    return struct.pack("<I", len(rows)) + b"".join(struct.pack("<%dI" % len(row), *row) for row in rows)


def node(strings, name, work, inputs, outputs, parameters, before=(), after=(), kind=1):
    """A node record; ``parameters``: (name, offset, size, fix_point, dims)."""
    made = struct.pack("<IIII", kind, strings.add(name), work & 0xffffffff, work >> 32)
    made += records([(0,)]) + records([(i,) for i in inputs]) + records([(i,) for i in outputs])
    made += records([(0, 16, strings.add(name + "_code"), 4)])
    made += records([(offset, size, 8, fix_point & 0xffffffff, strings.add(label), 2) + tuple(dims)
                     for label, offset, size, fix_point, dims in parameters])
    return made + records([(i,) for i in before]) + records([(i,) for i in after])


def kernel_sections(name, nodes, tensors, parameters, io_bytes, strings=None, mode=0, words=None, **metadata):
    """The seven sections of a kernel; ``nodes`` are finished records that used ``strings``."""
    strings = strings or Strings()
    fields = [strings.add("dpuv2"), strings.add("dnnc version v3.00"), mode, len(nodes), 52, io_bytes, 0, 0, 0,
              metadata.get("abi", 0x20000), 0, 0]
    core = [0] * 68
    for index, value in (words or ZEDBOARD_WORDS).items():
        core[index] = value
    parts = {
        "metadata": struct.pack("<12I", *fields), "configurable": struct.pack("<68I", *core),
        "tensor": b"".join(tensors), "node": b"".join(nodes), "parameter": parameters, "code": b"\xee" * 16,
    }
    parts["strtab"] = strings.data
    return dict((".deephi.%s.%s" % (part, name), content) for part, content in parts.items())


def elf(sections, bits=32, machine=None):
    """An ELF file of either class around sections."""
    machine = machine or {32: 40, 64: 183}[bits]
    names, table = b"\0", []
    head = 52 if bits == 32 else 64
    body, at = b"", head
    for name in sorted(sections):
        content = sections[name]
        table.append((len(names), 1, at, len(content)))
        names += name.encode("ascii") + b"\0"
        body += content
        at += len(content)
    table.append((len(names), 3, at, len(names) + len(b".shstrtab\0")))
    names += b".shstrtab\0"
    body += names
    at += len(names)
    rows = [(0, 0, 0, 0)] + table
    form, size = ("<IIIIIIIIII", 40) if bits == 32 else ("<IIQQQQIIQQ", 64)
    entries = b"".join(struct.pack(form, n, kind, 0, 0, offset, length, 0, 0, 1, 0) for n, kind, offset, length in rows)
    ident = b"\x7fELF" + bytes(bytearray([1 if bits == 32 else 2, 1, 1])) + b"\0" * 9
    head_form = "<HHIIIIIHHHHHH" if bits == 32 else "<HHIQQQIHHHHHH"
    header = struct.pack(head_form, 1, machine, 1, 0, 0, at, 0x5000000 if bits == 32 else 0, head, 0, 0, size,
                         len(rows), len(rows) - 1)
    return ident + header + body + entries


def tiny(bits=32, name="tiny", weights=b"\x01\xff\x02\x03", bias=b"\x05\x00", **options):
    """One kernel: a convolution 1x1 of two channels to two, then a dense layer; boundary nodes first and last."""
    strings = Strings()
    first = node(strings, "net_conv", 128, [0], [1],
                 [("net_conv_bias", 0, 2, 5, (2, 1, 1, 1)), ("net_conv_weights", 2, 4, 6, (1, 1, 2, 2))], (), (1,))
    last = node(strings, "net_dense", 24, [1], [2],
                [("net_dense_bias", 6, 2, 9, (2, 1, 1, 1)), ("net_dense_weights", 8, 4, -1, (2, 1, 1, 2))], (0,), ())
    tensors = [tensor(2, 4, 4, 2, 5), tensor(1, 1, 1, 2, 4, 32), tensor(4, 1, 1, 2, 3, 34)]
    sections = kernel_sections(name, [first, last], tensors, bias + weights + bias + weights, 48, strings, **options)
    return elf(sections, bits)
