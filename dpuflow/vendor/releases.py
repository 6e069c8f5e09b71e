"""The vendor's releases as a table (board specification, sections 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass

from dpuflow.errors import ConfigError

CONDA = "/opt/vitis_ai/conda/etc/profile.d/conda.sh"
LICENCE = "the vendor's licence pages are shown by its own docker_run.sh and installers"


@dataclass(frozen=True)
class Release:
    """One release: its image, its commands, which graph its compiler reads, what it writes.

    ``arch`` is how its compiler is told the core: "dcf" (a flag), "dcf-json" (an arch.json that
    names a .dcf), "target-json" (an arch.json with a target or a fingerprint). ``arch_folder`` is
    where the image keeps its own arch files. ``obtain`` tells how a user gets it.
    """

    name: str
    image: str
    quantizer: str
    compiler: str
    compiler_input: str
    arch: str
    arch_target: str
    writes: str
    obtain: str
    conda: str = "vitis-ai-tensorflow"
    arch_folder: str = ""


_PULL = "docker pull {image} (several GB), after reading and accepting the vendor's licence"
_DNNDK = ("download the DNNDK 3.1 host package from the vendor yourself, then: docker build -f docker/Dockerfile.dnndk "
          "--build-context dnndk=FOLDER_OF_THE_ARCHIVE -t dpuflow-dnndk:3.1 .")


def _vitis(name: str, image: str, folder: str, compiler_input: str, arch: str, target: str, writes: str) -> Release:
    return Release(name, image, "vai_q_tensorflow", "vai_c_tensorflow", compiler_input, arch, target, writes,
                   _PULL.format(image=image), arch_folder=f"/opt/vitis_ai/compiler/arch/{folder}")


_DEPLOY, _EVAL = "deploy_model.pb", "quantize_eval_model.pb"
RELEASES: tuple[Release, ...] = (
    Release("dnndk-3.1", "dpuflow-dnndk:3.1", "decent_q", "dnnc", _DEPLOY, "dcf", "", "elf", _DNNDK, conda=""),
    _vitis("1.0", "xilinx/vitis-ai:tools-1.0.0-cpu", "dpuv2", _DEPLOY, "dcf-json", "dpuv2", "elf"),
    _vitis("1.1", "xilinx/vitis-ai-cpu:1.1.56", "dpuv2", _DEPLOY, "dcf-json", "dpuv2", "elf"),
    _vitis("1.2", "xilinx/vitis-ai-cpu:1.2.82", "DPUCZDX8G", _DEPLOY, "dcf-json", "DPUCZDX8G", "elf"),
    _vitis("1.3", "xilinx/vitis-ai-cpu:1.3.411", "DPUCZDX8G", _EVAL, "target-json", "", "xmodel"),
    _vitis("1.4", "xilinx/vitis-ai-cpu:1.4.916", "DPUCZDX8G", _EVAL, "target-json", "", "xmodel"),
    _vitis("1.4.1", "xilinx/vitis-ai-cpu:1.4.1.978", "DPUCZDX8G", _EVAL, "target-json", "", "xmodel"),
    _vitis("2.0", "xilinx/vitis-ai-cpu:2.0.0.1103", "DPUCZDX8G", _EVAL, "target-json", "", "xmodel"),
    _vitis("2.5", "xilinx/vitis-ai-cpu:2.5", "DPUCZDX8G", _EVAL, "target-json", "", "xmodel"),
    # The 3.x images come per framework; whether one for TensorFlow 1 exists is not established.
    _vitis("3.0", "xilinx/vitis-ai-tensorflow2-cpu:3.0.0", "DPUCZDX8G", _EVAL, "target-json", "", "xmodel"),
    _vitis("3.5", "xilinx/vitis-ai-tensorflow2-cpu:3.5.0", "DPUCZDX8G", _EVAL, "target-json", "", "xmodel"),
)


def find_release(name: str) -> Release:
    """The release of that name; ConfigError listing those there are."""
    for release in RELEASES:
        if release.name == name:
            return release
    raise ConfigError("no such release of the vendor's tools", where="--release", got=name,
                      expected=", ".join(release.name for release in RELEASES))
