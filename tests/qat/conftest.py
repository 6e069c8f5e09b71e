import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")
