"""Self-tests that the kernels of a library passed on this computer."""

from __future__ import annotations

from collections.abc import Iterable

from dpuflow.engines.remembered import Store, state

STORE = Store("proofs.json", 16)  # processors and builds: a home folder may serve many computers


def known(library: str, package: str) -> set[str]:
    """The kinds of layers that a library once computed exactly here."""
    found = STORE.all()
    kinds = found.get(f"{library}\n{state(package)}") if found else None
    return set(kinds) if isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds) else set()


def keep(library: str, package: str, kinds: Iterable[str]) -> None:
    """Note what a library computes exactly."""
    key = state(package)
    if key is not None:
        STORE.keep(f"{library}\n{key}", sorted(kinds))
