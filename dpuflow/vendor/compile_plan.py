"""A plan that compiles a quantized graph with the vendor's compiler, down to the library for N2Cube."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from dpuflow.errors import ConfigError
from dpuflow.target.arch import Core
from dpuflow.vendor.plan import Plan
from dpuflow.vendor.releases import Release

ELF_CLASS = {"arm32": 32, "arm64": 64}
LINKERS = {"arm32": "arm-linux-gnueabihf-gcc", "arm64": "aarch64-linux-gnu-gcc"}


@dataclass(frozen=True)
class CompileRequest:
    """What to compile: the quantized graph, the core (a .dcf where the release wants one), a name."""

    graph: Path
    core: Core
    name: str
    dcf: Path | None = None
    cpu_arch: str = "arm32"
    mode: str = "normal"


def compile_plan(request: CompileRequest, release: Release) -> Plan:
    """The plan; ConfigError when the release cannot be told this core."""
    if request.cpu_arch not in ELF_CLASS:
        raise ConfigError("no such processor", where="--cpu-arch", got=request.cpu_arch, expected="arm32 or arm64")
    makers = {"dcf": _dnnc, "dcf-json": _with_dcf_json, "target-json": _with_target_json}
    return makers[release.arch](request, release)


def _dcf(request: CompileRequest, release: Release) -> Path:
    if request.dcf is None:
        raise ConfigError(f"release {release.name} reads the core from a .dcf file", where="--dcf",
                          expected="the board's .dcf (for example the vendor's ZedBoard.dcf)",
                          remedy="give --dcf FILE; `dlet` makes one from a design's .hwh")
    return request.dcf


def _library(request: CompileRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Linking the ELF files into the shared object that N2Cube loads, and its product."""
    linker, library = LINKERS[request.cpu_arch], f"libdpumodel{request.name}.so"
    return ((f"{linker} -fPIC -shared ../out/dpu_{request.name}*.elf -o ../out/{library}",), (library,))


_NO_RUN = "not run against a real image by this project; check the products"


def _dnnc(request: CompileRequest, release: Release) -> Plan:
    command = [release.compiler, "--parser=tensorflow", "--frozen_pb=deploy_model.pb", "--dcf=core.dcf",
               f"--cpu_arch={request.cpu_arch}", f"--mode={request.mode}", "--output_dir=../out",
               f"--net_name={request.name}", "--save_kernel"]
    link, products = _library(request)
    return Plan(f"compile {request.graph.name} with the vendor's {release.compiler}", release,
                {"deploy_model.pb": request.graph, "core.dcf": _dcf(request, release)},
                (" ".join(map(quote, command)), *link), products, elf_class=ELF_CLASS[request.cpu_arch],
                notes=("a ZedBoard needs arm32; the vendor's sample scripts say arm64", _NO_RUN))


def _with_dcf_json(request: CompileRequest, release: Release) -> Plan:
    arch = {"target": release.arch_target, "dcf": "/workspace/in/core.dcf", "cpu_arch": request.cpu_arch}
    link, products = _library(request)
    notes: tuple[str, ...] = (_NO_RUN,)
    if request.cpu_arch == "arm32":
        notes = ("arm32 from this release is unproven: users got 64-bit ELF files; the class is checked", *notes)
    return Plan(f"compile {request.graph.name} with the vendor's {release.compiler}", release,
                {"deploy_model.pb": request.graph, "core.dcf": _dcf(request, release)},
                (_vai_c(request, release, "deploy_model.pb"), *link), products,
                {"arch.json": json.dumps(arch, indent=1) + "\n"}, ELF_CLASS[request.cpu_arch], notes)


def _with_target_json(request: CompileRequest, release: Release) -> Plan:
    if request.core.dnndk:
        raise ConfigError(f"release {release.name} does not serve this board: its core is a DNNDK design",
                          where=request.core.board, remedy="use --release dnndk-3.1, or name an MPSoC core")
    arch = {"fingerprint": f"0x{request.core.fingerprint:x}"}
    return Plan(f"compile {request.graph.name} with the vendor's {release.compiler}", release,
                {"quantize_eval_model.pb": request.graph},
                (_vai_c(request, release, "quantize_eval_model.pb"),), (f"{request.name}.xmodel",),
                {"arch.json": json.dumps(arch, indent=1) + "\n"},
                notes=(_NO_RUN,))


def _vai_c(request: CompileRequest, release: Release, graph: str) -> str:
    return " ".join(map(quote, [release.compiler, "--frozen_pb", graph, "--arch", "arch.json", "--output_dir", "../out",
                                "--net_name", request.name]))
