#!/bin/sh
# The board's own tests on a 32-bit ARM Python, as on a ZedBoard: Debian's armhf packages under qemu-user.
#
#   sh scripts/test_armhf.sh [FOLDER]        FOLDER (default build/armhf) keeps the unpacked packages
#
# Nothing is installed and no root is needed: packages are downloaded and unpacked, qemu runs their Python.
# DEBIAN_MIRROR names the mirror (default: the one that apt uses here), DEBIAN_SUITE the release.
set -eu
ROOT=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-$ROOT/build/armhf}"
FOLDER=$(cd "${1:-$ROOT/build/armhf}" && pwd)
SYSTEM=$FOLDER/system
SUITE=${DEBIAN_SUITE:-bookworm}
PACKAGES=python3,python3-numpy,python3-opencv,python3-pytest

missing=""
for tool in qemu-arm debootstrap dpkg-deb; do
    command -v "$tool" > /dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    echo "test-armhf: error: not here:$missing. Remedy: on Debian install the packages qemu-user, debootstrap and dpkg" >&2
    exit 2
fi

if [ ! -f "$FOLDER/complete" ]; then
    MIRROR=${DEBIAN_MIRROR:-$(apt-cache policy 2> /dev/null | grep -oE 'https?://[^ ]+' | grep -v security | head -n 1)}
    if [ -z "$MIRROR" ]; then
        echo "test-armhf: error: no Debian mirror is known. Remedy: name one in DEBIAN_MIRROR" >&2
        exit 2
    fi
    rm -rf "$FOLDER/packages" "$SYSTEM"
    mkdir -p "$SYSTEM"
    echo "downloading Debian $SUITE for armhf"
    debootstrap --arch=armhf --download-only --variant=minbase --include="$PACKAGES" "$SUITE" "$FOLDER/packages" \
        "$MIRROR" > "$FOLDER/download.log" 2>&1 || {
            tail -n 5 "$FOLDER/download.log" >&2
            echo "test-armhf: error: the packages cannot be had, see $FOLDER/download.log" >&2
            exit 2
        }
    for package in "$FOLDER"/packages/var/cache/apt/archives/*.deb; do
        dpkg-deb -x "$package" "$SYSTEM"
    done
    rm -rf "$FOLDER/packages"
    touch "$FOLDER/complete"
fi

LIBRARIES=$SYSTEM/usr/lib/arm-linux-gnueabihf
PYTHON=$FOLDER/python
# argv[0] is this script, so that sys.executable starts a 32-bit Python again.
cat > "$PYTHON" << END
#!/bin/sh
exec qemu-arm -L "$SYSTEM" -E "LD_LIBRARY_PATH=$LIBRARIES:$LIBRARIES/blas:$LIBRARIES/lapack:$SYSTEM/lib/arm-linux-gnueabihf" \\
    -E "PYTHONHOME=$SYSTEM/usr" -E "PYTHONPATH=$SYSTEM/usr/lib/python3/dist-packages:\${PYTHONPATH:-}" \\
    -0 "$PYTHON" "\$(readlink -f "$SYSTEM/usr/bin/python3")" "\$@"
END
chmod +x "$PYTHON"

"$PYTHON" -c "import platform, struct, sys
assert struct.calcsize('P') == 4, 'not a 32-bit Python'
print('Python %s on %s, %d-bit, emulated by qemu' % (platform.python_version(), platform.machine(), 8 * struct.calcsize('P')))"
cd "$ROOT"
# shellcheck disable=SC2046 # file names of this project hold no spaces
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$ROOT/board:$ROOT/tests/board" exec "$PYTHON" -m pytest -q -p no:cacheprovider \
    -c /dev/null --confcutdir "$ROOT/tests/board" --rootdir "$ROOT" \
    $(grep -l 'Python 2.7 and 3.5+\."""' tests/board/test_*.py)
