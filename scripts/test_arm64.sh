#!/bin/sh
# The engines' tests on a 64-bit ARM processor: Debian's Python under qemu-user, the locked wheels for ARM.
#
#   sh scripts/test_arm64.sh [FOLDER]        FOLDER (default build/arm64) keeps the unpacked packages
#
# The fast engine must be exact there, or refuse by its self-test; it must never be wrong.
set -eu
ROOT=$(cd "$(dirname "$0")/.." && pwd)
FOLDER=${1:-$ROOT/build/arm64}
PIP=${PYTHON:-$ROOT/.venv/bin/python}
sh "$ROOT/scripts/foreign_python.sh" arm64 "$FOLDER" python3
FOLDER=$(cd "$FOLDER" && pwd)
# LiteRT asks the kernel which processor it runs on; qemu 7.2 (Debian 12) answers with the host's and LiteRT crashes.
VERSION=$("${QEMU_AARCH64:-qemu-aarch64}" --version | sed -n -E '1s/.*version ([0-9]+)\..*/\1/p')
if [ "$VERSION" -lt 8 ]; then
    echo "test-arm64: error: qemu $VERSION, expected 8 or later (10.0 is tested). Remedy: take the package qemu-user of" \
        "Debian 13 and name its program in QEMU_AARCH64" >&2
    exit 2
fi
WHEELS=$FOLDER/wheels-$("$FOLDER/python" -c "import sys; print('%d.%d' % sys.version_info[:2])")
if [ ! -f "$WHEELS/complete" ]; then
    rm -rf "$WHEELS"
    # What runs the tests and what the engines need; the versions are those of the lock file.
    sed -n -E 's/^((ai-edge-litert|flatbuffers|hypothesis|iniconfig|numpy|packaging|pluggy|protobuf|pygments|pytest|sortedcontainers|tqdm)==[^\\]*).*/\1/p' \
        "$ROOT/requirements/dev.lock" > "$FOLDER/wanted.txt"
    "$PIP" -m pip install --quiet --no-deps --only-binary=:all: --target "$WHEELS" --python-version "${WHEELS##*-}" \
        --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux_2_28_aarch64 -r "$FOLDER/wanted.txt"
    touch "$WHEELS/complete"
fi
cd "$ROOT"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$WHEELS:$ROOT:$ROOT/board:$ROOT/tests" exec "$FOLDER/python" -m pytest -q \
    -p no:cacheprovider tests/engines tests/core/test_fixed.py tests/core/test_ops.py
