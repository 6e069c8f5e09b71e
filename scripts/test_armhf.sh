#!/bin/sh
# The board's own tests on a 32-bit ARM Python, as on a ZedBoard: Debian's armhf packages under qemu-user.
#
#   sh scripts/test_armhf.sh [FOLDER]        FOLDER (default build/armhf) keeps the unpacked packages
set -eu
ROOT=$(cd "$(dirname "$0")/.." && pwd)
FOLDER=${1:-$ROOT/build/armhf}
sh "$ROOT/scripts/foreign_python.sh" armhf "$FOLDER" python3,python3-numpy,python3-opencv,python3-pytest
PYTHON=$(cd "$FOLDER" && pwd)/python
"$PYTHON" -c "import struct; assert struct.calcsize('P') == 4, 'not a 32-bit Python'"
cd "$ROOT"
# shellcheck disable=SC2046 # file names of this project hold no spaces
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$ROOT/board:$ROOT/tests/board" exec "$PYTHON" -m pytest -q -p no:cacheprovider \
    -c /dev/null --confcutdir "$ROOT/tests/board" --rootdir "$ROOT" \
    $(grep -l 'Python 2.7 and 3.5+\."""' tests/board/test_*.py)
