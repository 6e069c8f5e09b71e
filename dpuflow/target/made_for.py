"""The core that a file was made for, and the refusal to use it on another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dpuedge.elf import Kernel
from dpuflow.errors import CompileError, ConfigError
from dpuflow.model import Model
from dpuflow.target.arch import Core, core_fields
from dpuflow.target.select import by_fingerprint

# A DNNDK file's word -> what a core says of it.
_WORDS: Mapping[str, Callable[[Core], Any]] = {
    "pixel_parallel": lambda core: core.pixel_parallel,
    "input_channel_parallel": lambda core: core.input_channel_parallel,
    "output_channel_parallel": lambda core: core.output_channel_parallel,
    "image_bank_groups": lambda core: core.image_bank_groups,
    "channel_augmentation": lambda core: int(core.channel_augmentation > 0),
    "leaky_relu": lambda core: int("leaky_relu" in core.conv_nonlinears),
    "relu6": lambda core: int("relu6" in core.conv_nonlinears),
    "average_pool": lambda core: int(core.average_pool),
    "depthwise_parallel": lambda core: core.dwconv_pixel_parallel,
    "hp_width_bits": lambda core: core.hp_port_bits,
}
# What a fingerprint does not hold.
_NOT_IN_FINGERPRINT = ("name", "board", "description", "hp_port_bits", "bank_depth")


def fingerprint_of(model: Model) -> int | None:
    """The fingerprint that a compiled xmodel states; None if it states none, which VART takes as fitting."""
    parts = model.xir.dpu_subgraphs if model.xir else ()
    stated = parts[0].get("dpu_fingerprint") if parts else None
    return stated if isinstance(stated, int) and stated else None


def made_for(model: Model) -> Core | None:
    """The core that a compiled xmodel states; None for other files and for unknown fingerprints."""
    fingerprint = fingerprint_of(model)
    try:
        return by_fingerprint(fingerprint) if fingerprint else None
    except ConfigError:
        return None


def _decoded(fingerprint: int) -> dict[str, Any]:
    try:
        fields = core_fields(by_fingerprint(fingerprint))
    except ConfigError:
        return {"fingerprint": f"0x{fingerprint:016x}"}
    return {key: value for key, value in fields.items() if key not in _NOT_IN_FINGERPRINT}


def _kernel_words(kernel: Kernel) -> dict[str, Any]:
    return {key: kernel.core[key] for key in _WORDS}


def core_text(model: Model) -> Mapping[str, Any]:
    """The core that a file states, field by field; empty for a file that is made for none."""
    if model.elf:
        return _kernel_words(model.elf.kernels[0])
    fingerprint = fingerprint_of(model)
    return _decoded(fingerprint) if fingerprint else {}


def _wanted(model: Model, core: Core) -> Mapping[str, Any]:
    return {key: value(core) for key, value in _WORDS.items()} if model.elf else core_fields(core)


def require_core(model: Model, core: Core) -> Model:
    """The model, if it was made for this core or for none; CompileError with both descriptions field by field."""
    stated, wanted = core_text(model), _wanted(model, core)
    differing = [key for key in stated if stated[key] != wanted[key]]
    if fingerprint_of(model) == core.fingerprint or not differing or (differing == ["fingerprint"] and len(stated) > 1):
        return model
    same = ", ".join(f"{key} {stated[key]}" for key in stated if key not in differing)
    raise CompileError(
        "the model was made for another core", where=model.source,
        got="; ".join(f"{key} {stated[key]}" for key in differing),
        expected=f"{core.name} with " + "; ".join(f"{key} {wanted[key]}" for key in differing),
        remedy=f"compile its quantized graph for {core.name}; equal in both: {same or 'nothing'}")
