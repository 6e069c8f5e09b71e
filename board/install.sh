#!/bin/sh
# Check an unpacked board bundle and say how to run it. Installs nothing outside this folder.
set -eu
cd "$(dirname "$0")"
if [ ! -f SHA256SUMS ]; then
    echo "install.sh: SHA256SUMS: no such file. Remedy: unpack the whole bundle that 'make board-bundle' made" >&2
    exit 1
fi
if ! sha256sum -c --quiet SHA256SUMS; then
    echo "install.sh: files are damaged or missing (above). Remedy: copy the bundle again" >&2
    exit 1
fi
python=
for name in python3 python2.7 python; do
    if command -v "$name" > /dev/null && "$name" -c 'import numpy' 2> /dev/null; then python=$name; break; fi
done
if [ -z "$python" ]; then
    echo "install.sh: no Python with NumPy. Remedy: install python3-numpy (and python3-opencv for pictures)" >&2
    exit 1
fi
"$python" -c 'import cv2' 2> /dev/null || echo "note: no OpenCV for $python: arrays (--input) and --verify work, pictures do not"
[ -e /dev/dpu ] || echo "note: no /dev/dpu: nothing can run on a DPU here (driver: modprobe dpu)"
echo "everything is whole. To run:"
for model in models/*; do
    echo "    $python run_dpu.py $model --verify golden/$(basename "${model%.*}").npz"
    echo "    $python run_dpu.py $model picture.png"
done
