# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""A tiny compiled model with its manifest, and a runner that needs no dpuflow. Python 2.7 and 3.5+."""
import hashlib
import io
import json
import os

import numpy as np

SPEC = {"id": "gray32-stretch-standardize-v1", "height": 32, "width": 32, "channels": 1, "fit": "stretch",
        "normalize": "unit", "clip": [-4.0, 4.0]}


def sha256(data):
    """Hexadecimal digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def manifest_data(model_bytes, **changes):
    """A model manifest as the compile stage writes it, two real classes and a fake one."""
    data = {
        "schema": 1, "name": "tiny", "kernel": "tiny", "tool": "dpuflow 0.1.0",
        "inputs": [{"name": "input_real", "shape": [1, 32, 32, 1], "fix_point": 5}],
        "outputs": [{"name": "net/dense/BiasAdd", "shape": [1, 3], "fix_point": 3}],
        "cpu_tail": [{"name": "net/out", "op": "softmax"}],
        "preprocessing": SPEC, "labels": ["A", "b"], "fake_class": 2,
        "core": {"name": "B1152", "target": "zedboard", "pixel_parallel": 4},
        "files": {"tiny.xmodel": sha256(model_bytes)},
    }
    data.update(changes)
    return data


def write_model(folder, model_bytes=b"model", text=None, **changes):
    """Write ``tiny.xmodel`` and ``tiny.json`` into ``folder``; the model's path."""
    path = os.path.join(str(folder), "tiny.xmodel")
    with open(path, "wb") as stream:
        stream.write(model_bytes)
    if text is None:
        text = json.dumps(manifest_data(model_bytes, **changes))
    with io.open(os.path.join(str(folder), "tiny.json"), "w", encoding="utf-8") as stream:
        stream.write(text if isinstance(text, type(u"")) else text.decode("ascii"))
    return path


class FakeRunner(object):
    """Logits: the first three values of the image; remembers what it was given."""

    name = "fake"
    closed = 0

    def __init__(self):
        self.images = []

    def run(self, image):
        """Int8 (3,) of int8 (1, 32, 32, 1)."""
        assert image.dtype == np.int8
        assert image.shape == (1, 32, 32, 1)
        self.images.append(image)
        return image.reshape(-1)[:3].copy()

    def close(self):
        """Count."""
        FakeRunner.closed += 1
