"""Well-known networks with made-up weights: what would they cost on a core, and do they fit?

The structures are those of the papers. The weights are random: speed, placement and bits can be
studied, accuracy cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dpuflow.errors import ConfigError
from dpuflow.ir.graph import Graph
from dpuflow.passes.positions_by_formula import positions_by_formula
from dpuflow.zoo import characters, classifiers, detection, faces, mobile, segmentation
from dpuflow.zoo.builder import NetworkBuilder

# Name -> the function that builds it; its docstring is what users read.
ZOO: Mapping[str, Callable[[NetworkBuilder], Graph]] = {
    "chars74k": characters.chars74k,
    "captcha": characters.captcha,
    "captcha-conv": characters.captcha_conv,
    "lenet": classifiers.lenet,
    "vgg16-cifar10": classifiers.vgg16_cifar10,
    "vgg16": classifiers.vgg16,
    "resnet18": classifiers.resnet18,
    "resnet50": classifiers.resnet50,
    "mobilenet-v1": mobile.mobilenet_v1,
    "mobilenet-v2": mobile.mobilenet_v2,
    "squeezenet": classifiers.squeezenet,
    "inception-v1": classifiers.inception_v1,
    "lightcnn9": faces.lightcnn9,
    "yolov3": detection.yolov3,
    "yolov3-tiny": detection.yolov3_tiny,
    "unet": segmentation.unet,
}


def float_network(name: str, *, seed: int = 0, weights: str = "random", batch_norm: bool = False) -> Graph:
    """A network of the zoo as a float graph; ConfigError with close matches for a name it lacks.

    ``weights``: ``random`` (from ``seed``) or ``zeros``, which takes no memory. ``batch_norm`` keeps
    normalisations as nodes of their own.
    """
    import difflib

    if name not in ZOO:
        close = difflib.get_close_matches(name, ZOO, n=3, cutoff=0.4)
        raise ConfigError("no such network in the zoo", got=name, expected=", ".join(ZOO),
                          remedy=f"did you mean {' or '.join(close)}?" if close else "list them with `dpuflow zoo`")
    return ZOO[name](NetworkBuilder(name, seed=seed, weights=weights, batch_norm=batch_norm))


def quantized_network(name: str, *, seed: int = 0) -> Graph:
    """A network of the zoo as a quantized graph, positions by formula: ready to compile and emulate."""
    return positions_by_formula(float_network(name, seed=seed))
