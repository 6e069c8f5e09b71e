"""One archive for the board: `make board-bundle MODEL=chars74k`.

    .venv/bin/python scripts/bundle_board.py --model chars74k --build build [--elf libdpumodelchars74k.so]

Holds run_dpu.py with its package, the model with its manifest (and the vendor's library where there
is one), golden vectors of the emulator, and SHA-256 sums that install.sh checks.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np

from dpuflow.artifact import load_stage
from dpuflow.cli.common import add_debug, run_command
from dpuflow.engines import open_engine
from dpuflow.errors import DataError
from dpuflow.files import atomic_path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN_IMAGES = 16


def board_files() -> dict[str, bytes]:
    """run_dpu.py, install.sh, README and the package, by their name in the archive."""
    board = ROOT / "board"
    paths = [board / name for name in ("run_dpu.py", "install.sh", "README.md")]
    return {str(path.relative_to(board)): path.read_bytes() for path in [*paths, *(board / "dpuedge").glob("*.py")]}


def golden(folder: Path, model: str) -> bytes:
    """Calibration images as int8 and what the reference engine gives at the DPU's boundary."""
    manifest = json.loads((folder / "compile" / f"{model}.json").read_text())
    source, sink = manifest["inputs"][0]["name"], manifest["outputs"][0]["name"]
    engine = open_engine(folder / "compile" / f"{model}.xmodel", "reference")
    images = np.load(load_stage(folder / "train").path("calibration.npz"))["x"][:GOLDEN_IMAGES]
    taken = engine.run({source: images}, (source, sink), int8=True)
    buffer = io.BytesIO()
    np.savez(buffer, input=taken[source], output=taken[sink].reshape(len(images), -1))
    return buffer.getvalue()


def model_files(folder: Path, model: str, elf: Path | None) -> dict[str, bytes]:
    """The compiled model with what lies beside it, the vendor's library, and the golden vectors."""
    load_stage(folder / "compile")
    found = {f"models/{path.name}": path.read_bytes() for path in sorted((folder / "compile").glob(f"{model}.*"))}
    found[f"golden/{model}.npz"] = golden(folder, model)
    if elf is not None:
        if not elf.is_file():
            raise DataError("the vendor's library is not there", where=elf, remedy="make it with `make elf`")
        fields = json.loads(found[f"models/{model}.json"])
        fields["tool"], fields["files"] = "dnnc (vendor)", {elf.name: hashlib.sha256(elf.read_bytes()).hexdigest()}
        found = {name: data for name, data in found.items() if not name.startswith("models/")}
        found |= {f"models/{elf.name}": elf.read_bytes(), f"models/{model}.json": json.dumps(fields, indent=1).encode()}
    return found


def write_archive(files: dict[str, bytes], path: Path) -> None:
    """A .tar.gz whose bytes depend on the files alone."""
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    with (atomic_path(path) as temporary, open(temporary, "wb") as stream,
          gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as packed,
          tarfile.open(fileobj=packed, mode="w") as archive):
        for name, data in sorted((files | {"SHA256SUMS": sums.encode()}).items()):
            entry = tarfile.TarInfo(f"dpuflow-board/{name}")
            entry.size, entry.mode = len(data), 0o755 if name.endswith((".sh", "run_dpu.py")) else 0o644
            archive.addfile(entry, io.BytesIO(data))


def run(options: argparse.Namespace) -> None:
    folder = options.build / options.model
    output = options.output or folder / "board" / f"{options.model}-board.tar.gz"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_archive(board_files() | model_files(folder, options.model, options.elf), output)
    print(f"wrote {output}: on the board `tar xzf {output.name}; sh dpuflow-board/install.sh`")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bundle_board", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="chars74k")
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--elf", type=Path, help="the vendor's libdpumodel<name>.so, in place of the .xmodel")
    parser.add_argument("--output", type=Path)
    add_debug(parser)
    return run_command("bundle_board", run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
