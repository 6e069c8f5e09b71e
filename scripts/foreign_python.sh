#!/bin/sh
# A Debian Python of another processor, run by qemu-user: writes FOLDER/python.
#
#   sh scripts/foreign_python.sh armhf|arm64 FOLDER PACKAGES
#
# Nothing is installed and no root is needed: packages are downloaded and unpacked, qemu runs their Python.
# QEMU_AARCH64 names another qemu for arm64 than the one on the path.
# DEBIAN_MIRROR names the mirror (default: the one that apt uses here), DEBIAN_SUITE the release.
set -eu
ARCH=$1 PACKAGES=$3
case $ARCH in
    armhf) QEMU=qemu-arm TRIPLET=arm-linux-gnueabihf ;;
    arm64) QEMU=${QEMU_AARCH64:-qemu-aarch64} TRIPLET=aarch64-linux-gnu ;;
    *) echo "foreign-python: error: got $ARCH, expected armhf or arm64" >&2; exit 2 ;;
esac
mkdir -p "$2"
FOLDER=$(cd "$2" && pwd)
SYSTEM=$FOLDER/system
SUITE=${DEBIAN_SUITE:-bookworm}

missing=""
for tool in "$QEMU" debootstrap dpkg-deb; do
    command -v "$tool" > /dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    echo "test-$ARCH: error: not here:$missing. Remedy: on Debian install the packages qemu-user, debootstrap and dpkg" >&2
    exit 2
fi

if [ ! -f "$FOLDER/complete" ]; then
    MIRROR=${DEBIAN_MIRROR:-$(apt-cache policy 2> /dev/null | grep -oE 'https?://[^ ]+' | grep -v security | head -n 1)}
    if [ -z "$MIRROR" ]; then
        echo "test-$ARCH: error: no Debian mirror is known. Remedy: name one in DEBIAN_MIRROR" >&2
        exit 2
    fi
    rm -rf "$FOLDER/packages" "$SYSTEM"
    mkdir -p "$SYSTEM"
    echo "downloading Debian $SUITE for $ARCH"
    debootstrap --arch="$ARCH" --download-only --variant=minbase --include="$PACKAGES" "$SUITE" "$FOLDER/packages" \
        "$MIRROR" > "$FOLDER/download.log" 2>&1 || {
            tail -n 5 "$FOLDER/download.log" >&2
            echo "test-$ARCH: error: the packages cannot be had, see $FOLDER/download.log" >&2
            exit 2
        }
    for package in "$FOLDER"/packages/var/cache/apt/archives/*.deb; do
        dpkg-deb -x "$package" "$SYSTEM"
    done
    rm -rf "$FOLDER/packages"
    touch "$FOLDER/complete"
fi

LIBRARIES=$SYSTEM/usr/lib/$TRIPLET
PYTHON=$FOLDER/python
# argv[0] is this script, so that sys.executable starts such a Python again.
cat > "$PYTHON" << END
#!/bin/sh
exec $QEMU -L "$SYSTEM" -E "LD_LIBRARY_PATH=$LIBRARIES:$LIBRARIES/blas:$LIBRARIES/lapack:$SYSTEM/lib/$TRIPLET" \\
    -E "PYTHONHOME=$SYSTEM/usr" -E "PYTHONPATH=$SYSTEM/usr/lib/python3/dist-packages:\${PYTHONPATH:-}" \\
    -0 "$PYTHON" "\$(readlink -f "$SYSTEM/usr/bin/python3")" "\$@"
END
chmod +x "$PYTHON"
"$PYTHON" -c "import platform, struct
print('Python %s on %s, %d-bit, emulated by qemu' % (platform.python_version(), platform.machine(), 8 * struct.calcsize('P')))"
