"""What the command line changes of a model's manifest: preprocessing and labels. Python 2.7 and 3.5+."""
from __future__ import division, print_function

import io
import json

from dpuedge import image
from dpuedge.errors import ImageError, ManifestError


def apply(model, options):
    """The model with the options' preprocessing and labels; ImageError or ManifestError for what does not fit it."""
    model = model._replace(preprocessing=_preprocessing(model, options))
    if image.input_shape(model.preprocessing) != model.inputs[0].shape:
        raise ManifestError("the preprocessing does not fit the network's input", where="--preprocess",
                            expected=model.inputs[0].shape, got=image.input_shape(model.preprocessing))
    return model._replace(labels=_labels(options.labels, model)) if options.labels else model


def _preprocessing(model, options):
    spec = dict(_json(options.preprocess) if options.preprocess else model.preprocessing)
    changed = []
    if options.resize:
        spec["fit"] = options.resize
        changed.append("resize=" + options.resize)
    if options.mean is not None or options.scale is not None:
        spec.update(normalize="affine", clip=None, mean=options.mean or [0.0], scale=options.scale or [1.0])
        changed.append("affine")
    if options.gray:
        spec["gray"] = True
        changed.append("gray")
    if changed:  # the name must not claim the preprocessing of the training
        spec["id"] = "%s, changed: %s" % (spec.get("id", "unnamed"), " ".join(changed))
    return image.check_spec(spec)


def _json(path):
    try:
        with io.open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (IOError, OSError, ValueError) as error:
        raise ImageError("cannot read the preprocessing specification (%s)" % error, where=path)
    spec = found.get("preprocessing", found) if isinstance(found, dict) else found
    image.check_spec(spec)
    if "id" not in spec:
        spec["id"] = path
    return spec


def _labels(path, model):
    """One label a line, or a JSON list of texts."""
    try:
        with io.open(path, encoding="utf-8") as stream:
            text = stream.read()
        found = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except (IOError, OSError, ValueError) as error:
        raise ManifestError("cannot read the labels (%s)" % error, where=path)
    if not all(isinstance(label, type(u"")) and label for label in found) or len(found) != len(model.labels):
        raise ManifestError("the labels do not fit the network", where=path,
                            expected="%d texts, one a line" % len(model.labels), got="%d" % len(found))
    return tuple(found)


def numbers(text):
    """Numbers joined by commas, as ``--mean 123.7,116.8,103.9`` gives them."""
    return [float(part) for part in text.split(",")]
