"""Damaged and hostile input for the readers and the quantizer.

    .venv/bin/python scripts/fuzz.py graphdef --runs 100000
    .venv/bin/python scripts/fuzz.py quantize --runs 20000 --seed 7

``graphdef`` reads, decodes, inspects and imports a mutated GraphDef; ``quantize`` also quantizes it,
as ``decent_q quantize --skip_check 1`` does. ``xir`` checks, imports, runs and rewrites a mutated
xmodel, ``elf`` a DNNDK file. ``program`` decodes and verifies a virtual program and runs it if it passes, ``dcf``
reads a core configuration. Allowed ends are success and the library's own errors.
Anything else, more than 5 s for one input, and memory beyond 1 GB is a finding: it is printed and its
input kept in ``--findings``. Mutation knows the messages' structure. With atheris (extra ``fuzz``) its
coverage guides the search; without it the mutations are drawn at random from the seed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import fuzz_graphdef
import fuzz_program
import fuzz_xir

from dpuflow.errors import DpuError

SECONDS, EXTRA_BYTES = 5, 1 << 30


class TooSlow(BaseException):
    """One input took too long; not an Exception, so that nobody handles it on the way."""


@dataclass(frozen=True)
class Target:
    """What is fuzzed: what is done with an input, valid inputs, and how to change one."""

    run: Callable[[bytes], Any]
    seeds: Callable[[], list[bytes]]
    mutator: Callable[[], Callable[[bytes, random.Random], bytes]]


TARGETS: dict[str, Target] = {
    "graphdef": Target(fuzz_graphdef.read, fuzz_graphdef.seed_graphs, fuzz_graphdef.mutator),
    "quantize": Target(fuzz_graphdef.quantize, fuzz_graphdef.seed_graphs, fuzz_graphdef.mutator),
    "xir": Target(fuzz_xir.read, fuzz_xir.seeds, fuzz_xir.mutator),
    "elf": Target(fuzz_xir.read_elf, fuzz_xir.elf_seeds, fuzz_xir.elf_mutator),
    "program": Target(fuzz_program.read, fuzz_program.seeds, fuzz_program.mutator),
    "dcf": Target(fuzz_program.read_dcf, fuzz_program.dcf_seeds, fuzz_program.dcf_mutator),
}


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """One input's time; memory is limited for the process."""
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def limit_memory() -> None:
    """No more than what the process holds now and 1 GB."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        limit = pages * resource.getpagesize() + EXTRA_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def outcome(target: Callable[[bytes], Any], data: bytes) -> tuple[str, str]:
    """How one input ended: ("ok" | "refused" | "finding", what)."""
    try:
        with limited(), warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("ignore", UserWarning)
            target(data)
    except DpuError as error:
        return "refused", type(error).__name__
    except TooSlow:
        return "finding", f"more than {SECONDS} s\n" + traceback.format_exc(limit=-4)
    except Exception:
        return "finding", traceback.format_exc(limit=-4)
    return "ok", ""


class Session:
    """Counts outcomes, keeps findings and a growing pool of inputs that were accepted."""

    def __init__(self, name: str, folder: Path, rng: random.Random) -> None:
        self.target, self.folder, self.rng = TARGETS[name].run, folder, rng
        self.counts: Counter[str] = Counter()
        self.findings: dict[str, str] = {}
        self.pool = TARGETS[name].seeds()
        self.first, self.mutate = len(self.pool), TARGETS[name].mutator()

    def mutated(self, data: bytes | None = None) -> bytes:
        return self.mutate(self.rng.choice(self.pool) if data is None else data, self.rng)

    def run(self, data: bytes) -> None:
        kind, what = outcome(self.target, data)
        self.counts[kind if kind != "refused" else what] += 1
        if kind == "ok" and self.rng.random() < 0.02:
            self.pool.append(data)
            del self.pool[self.first:-200]
        if kind == "finding" and what.splitlines()[-1] + what.splitlines()[-3:][0] not in self.findings:
            self._keep(what, data)

    def _keep(self, what: str, data: bytes) -> None:
        name = hashlib.sha256(data).hexdigest()[:12]
        self.findings[what.splitlines()[-1] + what.splitlines()[-3:][0]] = name
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{name}.pb").write_bytes(data)
        print(f"finding {name}: {what}", flush=True)

    def summary(self, seconds: float) -> str:
        total = sum(self.counts.values())
        parts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return f"{total} runs in {seconds:.0f} s: {parts}; {len(self.findings)} different findings"


def with_atheris(session: Session, runs: int, seed: int) -> None:
    """Coverage-guided; returns never: libFuzzer ends the process."""
    import atheris  # type: ignore[import-not-found,unused-ignore]

    def custom(data: bytes, max_size: int, seed: int) -> bytes:
        session.rng.seed(seed)
        return session.mutated(data if len(data) > 8 else None)[:max_size]

    started = time.monotonic()

    def one(data: bytes) -> None:
        session.run(data)
        if sum(session.counts.values()) == runs:
            print(session.summary(time.monotonic() - started), flush=True)

    corpus = session.folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in session.pool:
        (corpus / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-atheris_runs={runs}", f"-seed={seed}", "-max_len=65536", "-rss_limit_mb=0",
                   str(corpus)], one, custom_mutator=custom)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=tuple(TARGETS))
    parser.add_argument("--runs", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--plain", action="store_true", help="do not use atheris")
    options = parser.parse_args()
    session = Session(options.target, options.findings / options.target, random.Random(options.seed))
    for data in session.pool:
        if outcome(session.target, data)[0] != "ok":
            print(f"a seed is not accepted: {outcome(session.target, data)}", file=sys.stderr)
            return 1
    limit_memory()
    if not options.plain:
        with contextlib.suppress(ImportError):
            with_atheris(session, options.runs, options.seed)
    started = time.monotonic()
    for _ in range(options.runs):
        session.run(session.mutated())
    print(session.summary(time.monotonic() - started))
    return 1 if session.findings else 0


if __name__ == "__main__":
    sys.exit(main())
