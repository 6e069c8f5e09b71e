"""Every flag that any release of the vendor's quantizer knows, in one table.

Quantizer specification, section 1. All commands take all flags, as the vendor's do. A flag is used,
taken without effect, or refused by name with what to do instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dpuflow.errors import ConfigError
from dpuflow.quant.versions import DEFAULT_VERSION, VERSIONS


@dataclass(frozen=True)
class Flag:
    """One flag; with ``refused`` any value but ``allowed`` (or the default) is an error with that remedy."""

    name: str
    type: type
    default: Any
    help: str
    choices: tuple[Any, ...] | None = None
    refused: str = ""
    allowed: tuple[Any, ...] = ()


_NO_EFFECT = "accepted, without effect: "
_AUTO = "use `dpuflow quantize --recipe auto`"
_BINARY = (0, 1)

FLAGS: tuple[Flag, ...] = (
    Flag("mode", str, "frozen", "quantize: frozen; or from a .meta file train (FixNeurons that train) or eval "
         "(with the positions that training left in <output_dir>/temp)", ("frozen", "train", "eval")),
    Flag("input_frozen_graph", str, "", "frozen float .pb; for dump, deploy and update a graph with FixNeurons"),
    Flag("input_meta_graph", str, "", "--mode train and eval, deploy: .meta file"),
    Flag("input_checkpoint", str, "", "deploy: checkpoint, or a folder of checkpoints, with the trained values"),
    Flag("output_dir", str, "./quantize_results", "where the results go"),
    Flag("weight_bit", int, 8, "width of weights and biases"),
    Flag("activation_bit", int, 8, "width of activations"),
    Flag("nodes_bit", str, "", "name:bits,..."),
    Flag("nodes_method", str, "", "name:method,...; a convolution's name means its weights"),
    Flag("method", int, 1, "0 no overflow, 1 least squared error, 2 relative for depthwise weights"),
    Flag("calib_iter", int, 100, "calibration iterations; images = iterations * batch"),
    Flag("input_nodes", str, "", "comma list"),
    Flag("input_shapes", str, "", "?,height,width,channels; several inputs separated by ':'"),
    Flag("output_nodes", str, "", "comma list"),
    Flag("input_fn", str, "", "module.function; called with iter, returns {input: array}"),
    Flag("ignore_nodes", str, "", "comma list of nodes that stay in float"),
    Flag("skip_check", int, 0, "1: do not run the float network once before", _BINARY),
    Flag("align_concat", int, 0, "one position for a concat and its inputs: 0 all, 1 outputs only, 2 none"),
    Flag("align_pool", int, None, "one position for a pool and its input: 0 all, 1 outputs only, 2 none"),
    Flag("adjust_shift_bias", int, 1, "0 off, 1 by shift_cut, 2 by the size of the kernel"),
    Flag("adjust_shift_cut", int, 1, "0 off, 1 on"),
    Flag("simulate_dpu", int, 1, "0 off, 1 the DPU's average pools and leaky slope"),
    Flag("scale_all_avgpool", int, None, "1: the DPU's factor for every average pool, not for five kernels", _BINARY),
    Flag("keep_float_weight", int, 1, "0: quantized weights in the evaluation graph", _BINARY),
    Flag("max_dump_batches", int, 1, "dump: number of batches"),
    Flag("dump_float", int, 0, "dump: also every operator's float values", _BINARY),
    Flag("dump_input_tensors", str, "", "dump: feed this tensor, as image_tensor, instead of the Placeholders"),
    Flag("version_compat", str, DEFAULT_VERSION, "which release's files to write", tuple(VERSIONS)),
    Flag("gpu", str, "0", _NO_EFFECT + "this quantizer runs on the CPU"),
    Flag("gpu_memory_fraction", float, 0.5, _NO_EFFECT + "this quantizer runs on the CPU"),
    Flag("replace_relu6", int, 1, _NO_EFFECT + "part of --do_cle", _BINARY),
    Flag("fast_ft_mode", int, 1, _NO_EFFECT + "part of --include_fast_ft"),
    Flag("fast_ft_epochs", int, 1, _NO_EFFECT + "part of --include_fast_ft"),
    Flag("fast_ft_lr", float, 1e-6, _NO_EFFECT + "part of --include_fast_ft"),
    Flag("fast_ft_lrcoef", float, 1.0, _NO_EFFECT + "part of --include_fast_ft"),
    Flag("add_shapes", int, 1, _NO_EFFECT + "no shapes are added", _BINARY),
    Flag("onnx_opset", int, 13, _NO_EFFECT + "part of --output_format onnx"),
    Flag("debug_mode", int, 0, _NO_EFFECT + "DECENT_DEBUG=1 writes every stage"),
    Flag("arch_type", str, "DEFAULT", "DEFAULT", None, "DPUCADF8H is an Alveo core; here are the DPUCZDX8G's"),
    Flag("do_cle", int, 0, "0", None, _AUTO + ": it equalises where that helps"),
    Flag("include_fast_ft", int, 0, "0", None, _AUTO + ": it fine-tunes where that helps"),
    Flag("fold_constant", int, 1, "1", None, "constants are always folded"),
    Flag("fold_reshape", int, 0, "0", None, "freeze the model without the reshape"),
    Flag("target_type", str, "", "", None, "only the DPU's rule is implemented", ("DPU",)),
    Flag("replace_sigmoid", int, 0, "0", None, "use a hard sigmoid in the model"),
    Flag("replace_softmax", int, 0, "0", None, "softmax runs on the CPU"),
    Flag("custom_op_so", str, "", "", None, "cut the graph before the custom operator with --output_nodes"),
    Flag("convert_datatype", int, 0, "0", None, "only fixed point runs on the DPU"),
    Flag("output_format", str, "pb", "pb", None, "use `dpuflow convert` on the result"),
    Flag("fix_input_shape", int, 0, "0", None, "give the batch in --input_shapes"),
    Flag("fuse_op_config", str, "", "", None, "write DNNDK's deploy_model.pb, as --version_compat dnndk does"),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """All flags; the refused ones are not listed in the help."""
    for flag in FLAGS:
        hidden = bool(flag.refused)
        parser.add_argument(f"--{flag.name}", type=flag.type, default=flag.default, choices=flag.choices,
                            metavar=flag.type.__name__.upper(), help=argparse.SUPPRESS if hidden else flag.help)
    parser.add_argument("--dump_as_xir", action="store_true", help=_NO_EFFECT + "as in the vendor's tool")


def refuse_unsupported(options: Mapping[str, Any]) -> None:
    """ConfigError naming the first flag that asks for something that is not there."""
    for flag in FLAGS:
        value = options.get(flag.name, flag.default)
        if flag.refused and value not in (flag.default, *flag.allowed):
            raise ConfigError("this value is not supported", where=f"--{flag.name}", got=value,
                              expected=str(flag.default) or "nothing", remedy=flag.refused)
