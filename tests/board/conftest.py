# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""Fixtures of the board's tests. Python 2.7 and 3.5+."""
import pytest
from board_model import FakeRunner, write_model

from dpuedge import backends


@pytest.fixture
def model_path(tmpdir):
    """A model file with its manifest."""
    return write_model(tmpdir)


@pytest.fixture
def fake_emulator(monkeypatch):
    """The emulator row of the back end table, with runners that are kept in the returned list."""
    opened = []

    def open_runner(_model, _engine):
        opened.append(FakeRunner())
        return opened[-1]

    def find_missing():
        return []

    rows = [row._replace(open_runner=open_runner, find_missing=find_missing) if row.emulated else row
            for row in backends.BACKENDS]
    monkeypatch.setattr(backends, "BACKENDS", tuple(rows))
    return opened
