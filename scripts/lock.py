"""Write requirements/{core,train,dev}.lock: every package with its version and hashes.

Universal for Python 3.10 to 3.13. The larger locks agree with the smaller ones in every version.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = {
    "core": ("image",), "train": ("image", "train", "report", "openvino"),
    "dev": ("image", "train", "report", "openvino", "bench", "vendor", "dev"),
}


def main() -> int:
    folder = ROOT / "requirements"
    uv = Path(sys.executable).with_name("uv")
    previous = None
    for part, extras in EXTRAS.items():
        output = folder / f"{part}.lock"
        command = [str(uv), "pip", "compile", str(ROOT / "pyproject.toml"), str(folder / "build.in"),
                   "--universal", "--generate-hashes", "--python-version", "3.10", "--no-emit-index-url",
                   "--no-header", "--no-annotate", "--quiet", "-c", str(folder / "constraints.in"), "-o", str(output)]
        command += [f"--extra={extra}" for extra in extras]
        if previous:
            command += ["-c", str(previous)]
        subprocess.run(command, check=True, cwd=ROOT)
        previous = output
        print(f"wrote {output.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
