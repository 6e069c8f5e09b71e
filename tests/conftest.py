"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# Speed is measured in benchmarks, not in tests; the same examples every time.
settings.register_profile("dpuflow", deadline=None, derandomize=True)
settings.load_profile("dpuflow")
