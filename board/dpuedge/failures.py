"""What the board's runtimes say when they fail, what it means, what to do (board specification, section 7).

Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

from collections import namedtuple

Known = namedtuple("Known", "signs meaning remedy")

# The first row with a sign in the runtime's words is the answer.
KNOWN = (
    Known(("fail to open DPU device", "/dev/dpu"), "the DPU driver is not there",
          "run `modprobe dpu`; check the bitstream and the device tree node with compatible \"dpu\""),
    Known(("invalid module format",), "the driver dpu.ko is for another kernel",
          "boot the vendor's 4.19 image, or build the driver from the public source for this kernel"),
    Known(("file format not recognized", "incompatible", "wrong ELF class"),
          "the model library is for another processor",
          "compile with --cpu_arch=arm32 for a ZedBoard, arm64 for an MPSoC board"),
    Known(("configuration mismatch", "code -1005", "CHECK fingerprint fail", "fingerprint"),
          "the model was compiled for another core", "compile again for the core of this board"),
    Known(("Fail to load DPU kernel", "library located", "code -201", "code -3000"), "the model library was not found",
          "libdpumodel<name>.so must lie beside the model, in /usr/local/lib, /usr/lib or /lib; "
          "_0 is not part of <name>"),
    Known(("Invalid Node name", "Invalid node name"), "no boundary node of that name",
          "name the nodes with --input-node and --output-node; `dpuflow show MODEL.elf` lists them"),
    Known(("memory space used out", "cannot allocate memory", "code -6000"), "the DPU's contiguous memory is used up",
          "use fewer --threads, end other DPU programs, or boot with a larger cma="),
    Known(("DPU timeout", "timeout while execute"), "the DPU did not answer in time",
          "lower the DPU clock, check heat and power; a trial IP stops after 8 hours"),
    Known(("ioctl",), "driver and library are of different releases",
          "install both from one package; `dexplorer -v` shows the versions"),
    Known(("code -2000", "exceed", "out of range"), "the input does not fit the node's tensor",
          "give as many elements as the tensor has, each within int8"),
    Known(("xclbin", "vart.conf"), "the FPGA is not programmed for this model",
          "download the overlay; check /etc/vart.conf"),
)
EXIT = Known((), "the runtime ended its process", "see its words above; `dexplorer -s` and dmesg tell more")


def explain(words):
    """The row of :data:`KNOWN` whose sign stands in ``words``, else the general one."""
    lowered = words.lower()
    for row in KNOWN:
        if any(sign.lower() in lowered for sign in row.signs):
            return row
    return EXIT
