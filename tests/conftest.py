"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# Speed is measured in benchmarks, not in tests; the same examples every time.
settings.register_profile("dpuflow", deadline=None, derandomize=True)
settings.load_profile("dpuflow")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing")


@pytest.fixture(scope="session", autouse=True)
def cache_of_our_own(tmp_path_factory):
    """Nothing is taken from the user's cache, nothing left there; child processes share it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def golden(request):
    """A function that compares a text with a golden file."""
    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"no golden file {name}: make it with --update-golden and read it"
        assert text == path.read_text(encoding="utf-8")
    return compare
