# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""Tests of dpuedge.sources. Python 2.7 and 3.5+."""
import os

import numpy as np
import pytest

from dpuedge import sources
from dpuedge.errors import ImageError
from dpuedge.manifest import Tensor

INPUT = Tensor("input_real", (1, 4, 4, 1), 5)


def found(tmpdir, *arguments):
    """Names relative to the folder, in order."""
    names = [source.name for source in sources.pictures([os.path.join(str(tmpdir), a) for a in arguments], {})]
    return [os.path.relpath(name, str(tmpdir)) for name in names]


@pytest.fixture
def tree(tmpdir):
    """b.png a.JPG notes.txt sub/c.bmp sub/deep/d.pgm"""
    for name in ("b.png", "a.JPG", "notes.txt"):
        tmpdir.join(name).write("x")
    deep = tmpdir.mkdir("sub").mkdir("deep")
    tmpdir.join("sub", "c.bmp").write("x")
    deep.join("d.pgm").write("x")
    return tmpdir


def test_a_folder_is_searched_by_extension_in_sorted_order(tree):
    deep = os.path.join("sub", "deep", "d.pgm")
    assert found(tree, "") == ["a.JPG", "b.png", os.path.join("sub", "c.bmp"), deep]


def test_files_globs_and_folders_keep_the_order_of_the_arguments(tree):
    assert found(tree, "sub", "*.png", "notes.txt") == [
        os.path.join("sub", "c.bmp"), os.path.join("sub", "deep", "d.pgm"), "b.png", "notes.txt"]


def test_a_file_whose_name_looks_like_a_glob_is_taken_as_it_is(tree):
    tree.join("[b].png").write("x")
    assert found(tree, "[b].png") == ["[b].png"]


@pytest.mark.parametrize("argument", ["*.gif", os.path.join("sub", "empty")])
def test_what_finds_nothing_fails_in_its_turn(tree, argument):
    tree.join("sub").mkdir("empty")
    first, second = sources.pictures([os.path.join(str(tree), argument), str(tree.join("b.png"))], {})
    with pytest.raises(ImageError, match="no picture found"):
        first.values()
    assert second.name.endswith("b.png")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
def test_rows_of_an_array_are_sources(tmpdir, dtype):
    array = np.arange(32).reshape(2, 4, 4, 1).astype(dtype)
    path = str(tmpdir.join("x.npy"))
    np.save(path, array)
    first, second = sources.rows(path, INPUT)
    assert second.name == path + "[1]"
    assert second.values().dtype == array.dtype
    assert (first.values() == array[0]).all()


@pytest.mark.parametrize(("array", "expected"), [
    (np.zeros((2, 4, 4, 1), np.uint8), "wrong kind of numbers.*expected float32 or int8, got uint8"),
    (np.zeros((2, 5, 4, 1), np.float32), "does not fit"),
    (np.zeros((4, 4, 1), np.float32), "does not fit"),
    (np.zeros((0, 4, 4, 1), np.float32), "does not fit"),
    (np.zeros((), np.float32), "does not fit"),
])
def test_an_array_that_does_not_fit_is_refused(tmpdir, array, expected):
    path = str(tmpdir.join("x.npy"))
    np.save(path, array)
    with pytest.raises(ImageError, match=expected):
        sources.rows(path, INPUT)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array", b"PK\x03\x04"])
def test_what_is_no_array_is_refused(tmpdir, content):
    path = tmpdir.join("x.npy")
    path.write_binary(content)
    with pytest.raises(ImageError, match="cannot read the array"):
        sources.rows(str(path), INPUT)


def test_a_truncated_array_a_pickle_and_an_archive_are_refused(tmpdir):
    np.save(str(tmpdir.join("x.npy")), np.zeros((2, 4, 4, 1), np.float32))
    tmpdir.join("cut.npy").write_binary(tmpdir.join("x.npy").read_binary()[:-7])
    np.save(str(tmpdir.join("pickle.npy")), np.array([{}], dtype=object))
    with open(str(tmpdir.join("z.npy")), "wb") as stream:
        np.savez(stream, a=np.zeros(3))
    for name in ("cut.npy", "pickle.npy", "z.npy", "missing.npy"):
        with pytest.raises(ImageError):
            sources.rows(str(tmpdir.join(name)), INPUT)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmpdir, bad):
    array = np.zeros((2, 4, 4, 1), np.float32)
    array[1, 2, 2, 0] = bad
    path = str(tmpdir.join("x.npy"))
    np.save(path, array)
    good, wrong = sources.rows(path, INPUT)
    assert good.values().sum() == 0
    with pytest.raises(ImageError, match="NaN or infinite"):
        wrong.values()
