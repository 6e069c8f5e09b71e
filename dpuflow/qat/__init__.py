"""Quantization-aware training: trained power-of-two thresholds on the DPU's own grid, as a Keras 3 model.

    from dpuflow.qat import export, quantization_aware
    network = quantization_aware(model, images)          # a Keras model, a file or a frozen graph
    network.compile("adam", loss)                        # low rates: 1e-4 for Adam is a good start
    network.fit(...)
    quantized = export(network)                          # the same two files as after quantize

After S. Jain, A. Gural, M. Wu, C. Dick, "Trained Quantization Thresholds for Accurate and Efficient
Fixed-Point Inference of Deep Neural Networks" (2020). Batch normalisation is folded before the
training and parameters train folded: what is trained is what is exported. Keras and a backend come
with the ``train`` extra and are imported when a function is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpuflow.errors import ConfigError
from dpuflow.quant.quantizer import Quantized

if TYPE_CHECKING:
    from dpuflow.api import Calibration

__all__ = ["export", "quantization_aware"]


def quantization_aware(model: Any, calibration: Calibration, *, equalise: bool = True, **options: Any) -> Any:
    """A trainable Keras model that computes as the DPU will: every FixNeuron a fake-quantization with a threshold.

    ``model``: a Keras model, a path that ``dpuflow.load`` reads, or a frozen graph. ``calibration``:
    images (N, H, W, C) as the network takes them, or batches by input node; they set the first
    thresholds. ``equalise`` starts from equalised parameters. ``options`` are those of
    ``QuantizeConfig``. The result takes what the network takes and returns its outputs, a closing
    softmax left out. ConfigError without Keras; UnsupportedOp for operators that cannot be trained.
    """
    _require_keras()
    from dpuflow.qat.start import start_network

    return start_network(model, calibration, equalise, options)


def export(network: Any, folder: Path | str | None = None) -> Quantized:
    """The trained network as the quantizer's two graphs, written to ``folder`` if one is given.

    Thresholds that the DPU's shifts cannot reach are settled first, in the network too: emulating
    the result gives the network's own inference outputs bit for bit.
    """
    from dpuflow.formats.graphdef import write_graphdef

    made: Quantized = network.quantized()
    if folder is not None:
        write_graphdef(made.evaluation, Path(folder) / "quantize_eval_model.pb")
        write_graphdef(made.deploy, Path(folder) / "deploy_model.pb")
    return made


def _require_keras() -> None:
    try:
        import keras  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"training needs Keras ({error})", where="dpuflow.qat",
                          remedy="pip install 'dpuflow[train]'") from None
