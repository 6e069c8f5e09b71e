"""Make or extend the virtual environment from a lock file: exact versions, checked by hash.

    python3 scripts/setup_venv.py .venv core|train|dev
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, TOO_NEW = (3, 10), (3, 14)


def _pip(folder, *arguments):
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *arguments]
    return subprocess.run(command, check=False).returncode


def main():
    folder, part = Path(sys.argv[1]), sys.argv[2]
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        sys.exit("setup: Python %d.%d cannot be used: expected 3.10 to 3.13. Remedy: make PYTHON=python3.12"
                 % sys.version_info[:2])
    if not (folder / "bin" / "python").exists():
        print("setup: making %s with Python %d.%d" % (folder, *sys.version_info[:2]), flush=True)
        try:
            venv.create(folder, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit("setup: %s: cannot make the environment (%s). Remedy: install python3-venv" % (folder, error))
    print("setup: installing requirements/%s.lock" % part, flush=True)
    lock = ROOT / "requirements" / (part + ".lock")
    if _pip(folder, "--require-hashes", "--no-deps", "-r", str(lock)):
        sys.exit("setup: %s: the packages could not be installed. Remedy: check the network, run it again" % lock)
    if part == "core" and _pip(folder, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)):
        sys.exit("setup: the project itself could not be installed")
    (folder / ("." + part)).write_text("")


if __name__ == "__main__":
    main()
