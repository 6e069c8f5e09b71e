"""Reading and writing ``.npy`` and ``.npz`` files with messages a user can act on."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dpuflow.artifact import Stage
from dpuflow.errors import DataError
from dpuflow.files import atomic_path, read_bytes
from dpuflow.ir.graph import Array


def read_arrays(path: Path | str) -> Array | dict[str, Array]:
    """The array of a ``.npy`` file, or the arrays of a ``.npz`` by name; DataError otherwise."""
    path = Path(path)
    if not path.is_file() or path.stat().st_size == 0:
        read_bytes(path)  # says what is wrong
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            arrays = loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except Exception as error:  # NumPy, zipfile, zlib and the header's parser each raise their own, MemoryError too
        raise DataError(f"not a readable array file ({error})", where=path, expected=".npy or .npz",
                        remedy="write it with numpy.save") from error
    if isinstance(arrays, dict) and not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise DataError("the archive holds files that are no arrays", where=path, expected=".npy files in a .npz")
    return arrays


def stage_arrays(stage: Stage, name: str) -> dict[str, Array]:
    """The arrays of a stage's file, ``x`` among them; DataError without it."""
    arrays = read_arrays(stage.path(name))
    if not isinstance(arrays, dict) or "x" not in arrays:
        raise DataError("no array x in the file", where=stage.path(name), remedy="run `make train` again")
    return arrays


def write_arrays(path: Path | str, arrays: Mapping[str, Array]) -> None:
    """A ``.npz`` file with one array per name, as a whole or not at all. Names may hold slashes."""
    with atomic_path(Path(path)) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
