"""Where inputs come from: pictures in files, folders and globs, frames of a camera, or the rows of an array file.

A source has a ``name`` to show and ``values()``: one image as float32 in the network's input scale,
or as int8 that goes to the network unchanged. Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

import glob
import os

import numpy as np
from numpy.lib.format import open_memmap

from dpuedge.console import as_text
from dpuedge.errors import ImageError

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Picture(object):
    """A picture file, read and preprocessed when its values are asked for."""

    def __init__(self, path, spec):
        self.name = as_text(path)
        self.path = path
        self.spec = spec

    def values(self):
        """Float32 (H, W, C) in the network's input scale; ImageError if it cannot be read."""
        from dpuedge import image  # brings OpenCV, which --input does not need
        return image.preprocess(image.read(self.path, self.spec), self.spec)


class Frame(object):
    """One frame of a stream."""

    def __init__(self, name, frame, spec):
        self.name = as_text(name)
        self.frame = frame
        self.spec = spec

    def values(self):
        """Float32 (H, W, C) in the network's input scale."""
        from dpuedge import image
        return image.preprocess(image.plain(self.frame, self.spec), self.spec)


class Row(object):
    """One image of an array file."""

    def __init__(self, name, row):
        self.name = name
        self.row = row

    def values(self):
        """Float32 or int8 (H, W, C); ImageError for values that are not finite."""
        row = np.asarray(self.row)
        if row.dtype != np.int8 and not np.isfinite(row).all():
            raise ImageError("the array holds NaN or infinite values", where=self.name)
        return row


class Broken(object):
    """An argument that names nothing; it fails in its turn, the others are still read."""

    def __init__(self, name, error):
        self.name = as_text(name)
        self.error = error

    def values(self):
        """Raise what is wrong with the argument."""
        raise self.error


def pictures(arguments, spec):
    """Sources for files, folders (recursively, by extension) and globs, in the order given."""
    found = []
    for argument in arguments:
        if os.path.isdir(argument):
            paths, expected = _walk(argument), "a picture (%s)" % " ".join(EXTENSIONS)
        elif glob.has_magic(argument) and not os.path.exists(argument):
            paths, expected = _glob(argument), "a file that fits the pattern"
        else:
            paths, expected = [argument], ""
        found += [Picture(path, spec) for path in paths]
        if not paths:
            found.append(Broken(argument, ImageError("no picture found", where=argument, expected=expected)))
    return found


def _glob(pattern):
    try:
        return sorted(glob.glob(pattern, recursive=True))
    except TypeError:  # Python 2.7 has no recursive globs
        return sorted(glob.glob(pattern))


def _walk(folder):
    paths = []
    for here, folders, names in os.walk(folder):
        folders.sort()
        paths += [os.path.join(here, name) for name in sorted(names) if name.lower().endswith(EXTENSIONS)]
    return paths


def frames(stream, spec, limit=None):
    """Sources for the frames of a stream, as they come, ``limit`` at most: a camera's number, a film, an address,
    or numbered pictures (``picture_%03d.png``).

    ImageError when it cannot be opened or gives no frame at all.
    """
    import cv2
    capture = cv2.VideoCapture(int(stream) if stream.isdigit() else stream)
    try:
        count = 0
        while capture.isOpened() and (limit is None or count < limit):
            more, frame = capture.read()
            if not more:
                break
            count += 1
            yield Frame("%s#%d" % (stream, count), frame, spec)
    finally:
        capture.release()
    if not count:
        raise ImageError("the stream gives no frame", where=stream,
                         expected="a camera's number, a film, an address or numbered pictures")


def rows(path, tensor):
    """Sources for the images of ``path``, an ``.npy`` array (N, H, W, C), float or int8.

    ImageError when the file is no such array or does not fit the input ``tensor``.
    """
    array = _open_array(path)
    if array.dtype != np.int8 and array.dtype.kind != "f":
        raise ImageError("wrong kind of numbers in the array", where=path, expected="float32 or int8",
                         got=array.dtype, remedy="float32 in the network's own input scale, or ready int8")
    if array.ndim != len(tensor.shape) or array.shape[1:] != tensor.shape[1:] or not len(array):
        raise ImageError("the array does not fit the network's input", where=path, got=array.shape,
                         expected=("N",) + tensor.shape[1:])
    return [Row("%s[%d]" % (as_text(path), index), row) for index, row in enumerate(array)]


def _open_array(path):
    try:
        return open_memmap(path, mode="r")
    except (IOError, OSError, ValueError, EOFError) as error:
        raise ImageError("cannot read the array (%s)" % error, where=path, expected="an .npy file")
