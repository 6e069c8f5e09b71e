"""Open what ``--calibration`` names: a folder of pictures, an array file, or a module.function."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpuflow.calibration.arrays import Rows, open_rows
from dpuflow.calibration.batches import Batch, CalibrationSet
from dpuflow.calibration.preprocess import Preprocess
from dpuflow.errors import ConfigError, DataError
from dpuflow.ir.graph import Array, Shape

LABEL_NAMES = ("labels", "label", "y", "y_test", "y_train", "targets")
IMAGE_NAMES = ("x", "images", "image", "data", "input", "inputs", "x_train", "x_test", "arr_0", "")


@dataclass(frozen=True)
class Reading:
    """How a source is read: images in a batch, batches of a function, most images, preprocessing."""

    batch: int = 128
    calib_iter: int = 10
    max_images: int | None = None
    preprocess: Preprocess | None = None

    def __post_init__(self) -> None:
        for flag, value in (("--batch", self.batch), ("--calib-iter", self.calib_iter),
                            ("--max-images", self.max_images)):
            if value is not None and value < 1:
                raise ConfigError("at least one", where=flag, got=value)


def open_calibration(spec: str | Path, shapes: Mapping[str, Shape], reading: Reading | None = None) -> CalibrationSet:
    """The batches that ``spec`` names, for inputs of these shapes (batch 1).

    ``spec``: a folder of pictures (subfolders are classes), an ``.npz`` or ``.npy`` file with one
    NHWC array for each input, or ``module.function`` as the vendor's ``input_fn``. DataError or
    ConfigError, before anything is computed, for what cannot be read.
    """
    reading = reading or Reading()
    path = Path(spec)
    if path.is_dir():
        return picture_batches(path, shapes, reading)
    if path.is_file():
        return array_batches(path, shapes, reading)
    if path.suffix.lower() in (".npz", ".npy") or os.sep in str(spec):
        raise DataError("no such file or folder", where=spec,
                        expected="a folder of pictures, an .npz or .npy file, or module.function")
    return function_batches(str(spec), reading)


# -- module.function ----------------------------------------------------------------------------------------

def function_batches(name: str, reading: Reading) -> CalibrationSet:
    """The batches of the user's ``input_fn(iter)`` for iterations 0 .. calib_iter - 1."""
    from dpuflow.quant.input_fn import load_input_fn

    input_fn = load_input_fn(name, "--calibration")

    def batches() -> Iterator[Batch]:
        return (input_fn(iteration) for iteration in range(reading.calib_iter))

    whole = CalibrationSet(f"{name}, {reading.calib_iter} iterations", batches)
    return whole.head(reading.max_images) if reading.max_images else whole


# -- array files --------------------------------------------------------------------------------------------

def array_batches(path: Path, shapes: Mapping[str, Shape], reading: Reading) -> CalibrationSet:
    """The rows of an array file; of several arrays each input's own."""
    arrays = open_rows(path)
    labels = next((arrays[name] for name in LABEL_NAMES if name in arrays and len(arrays[name].shape) == 1), None)
    rows = {name: _array_for(name, shapes, arrays, path).checked() for name in shapes}
    count = min(len(array) for array in rows.values())
    if not count or any(len(array) != count for array in rows.values()):
        raise DataError("no images" if not count else "the inputs' arrays differ in length", where=path,
                        got=", ".join(f"{len(array)}" for array in rows.values()))
    readers = {name: _reader(array, shapes[name], reading.preprocess) for name, array in rows.items()}
    notes = tuple(dict.fromkeys(note for _, note in readers.values() if note))

    def batches() -> Iterator[Batch]:
        streams = {name: array.batches(reading.batch) for name, array in rows.items()}
        for parts in zip(*streams.values(), strict=True):
            yield {name: readers[name][0](part) for name, part in zip(streams, parts, strict=True)}

    known = labels.checked().whole() if labels is not None and len(labels) == count else None
    whole = CalibrationSet(str(path), batches, count, known, notes)
    return whole.head(reading.max_images) if reading.max_images else whole


def _array_for(name: str, shapes: Mapping[str, Shape], arrays: Mapping[str, Rows], path: Path) -> Rows:
    if name in arrays:
        return arrays[name]
    for known in IMAGE_NAMES if len(shapes) == 1 else ():
        if known in arrays:
            return arrays[known]
    ranked = [array for array in arrays.values() if len(array.shape) >= len(shapes[name]) - 1 > 0]
    if len(shapes) == 1 and len(ranked) == 1:
        return ranked[0]
    raise DataError(f"no array for the input '{name}'", where=path, got=", ".join(arrays) or "an empty archive",
                    remedy=f"name the array '{name}'" + (" or x" if len(shapes) == 1 else ""))


def _reader(rows: Rows, shape: Shape, preprocess: Preprocess | None) -> tuple[Callable[[Array], Array], str]:
    """How a batch of rows becomes input, and what was assumed; DataError if the rows do not fit."""
    if preprocess is not None and rows.dtype == np.uint8:
        return _checked(preprocess.pixels, rows, shape), f"8-bit pixels: {preprocess}"
    if preprocess is not None:
        raise ConfigError("preprocessing flags are for pictures and uint8 pixels", where=rows.where, got=rows.dtype,
                          remedy="leave them out: the array is taken as the network's input")
    if rows.shape[1:] == shape[1:]:
        return _float, ""
    if len(shape) == 4 and rows.shape[1:] == (shape[3], shape[1], shape[2]):
        return lambda part: _float(part.transpose(0, 2, 3, 1)), "channels first in the file: transposed to NHWC"
    if len(shape) == 4 and shape[3] == 1 and rows.shape[1:] == shape[1:3]:
        return lambda part: _float(part[..., None]), "one channel added to the file's images"
    raise DataError("the images do not fit the network's input", where=rows.where, got=("N", *rows.shape[1:]),
                    expected=("N", *shape[1:]), remedy="resize them, or give --input-shapes")


def _float(part: Array) -> Array:
    return np.ascontiguousarray(part, np.float32)


def _checked(convert: Callable[[Array], Array], rows: Rows, shape: Shape) -> Callable[[Array], Array]:
    def read(part: Array) -> Array:
        result = convert(part)
        if result.shape[1:] != shape[1:]:
            raise DataError("the pixels do not fit the network's input", where=rows.where, got=result.shape[1:],
                            expected=shape[1:])
        return result
    return read


# -- folders of pictures ------------------------------------------------------------------------------------

def picture_files(folder: Path) -> list[Path]:
    """The picture files below a folder, sorted; DataError if there is none."""
    from dpuedge.sources import EXTENSIONS

    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not files:
        raise DataError("the folder holds no pictures", where=folder, expected="files " + " ".join(EXTENSIONS))
    return files


def picture_batches(folder: Path, shapes: Mapping[str, Shape], reading: Reading) -> CalibrationSet:
    """Pictures of a folder and its subfolders. Subfolders are the classes, numbered in sorted order."""
    if len(shapes) != 1:
        raise ConfigError("a folder of pictures serves a network with one input", got=", ".join(shapes),
                          remedy="give an .npz with one array for each input, or a module.function")
    preprocess = reading.preprocess
    if preprocess is None:
        raise ConfigError("how are pictures to become the network's input?", where=folder,
                          remedy="give --mean, --scale, --channel-order, or --manifest FILE with a preprocessing")
    files = _spread(picture_files(folder), reading.max_images)
    classes = sorted({path.parent for path in files})
    labels = np.array([classes.index(path.parent) for path in files]) if len(classes) > 1 else None
    (name,) = shapes

    def batches() -> Iterator[Batch]:
        for at in range(0, len(files), reading.batch):
            yield {name: np.stack([preprocess.read(path) for path in files[at:at + reading.batch]])}

    return CalibrationSet(str(folder), batches, len(files), labels, (f"pictures: {preprocess}",))


def _spread(files: list[Path], most: int | None) -> list[Path]:
    """At most that many files, evenly over all classes."""
    if most is None or most >= len(files):
        return files
    return [files[index * len(files) // most] for index in range(most)]
