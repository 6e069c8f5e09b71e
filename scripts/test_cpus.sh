#!/bin/sh
# The fast engine's self-test, every probe and library, on x86-64 processors from SSE4.2 to AVX2, modelled by qemu-user.
#
#   sh scripts/test_cpus.sh [MODEL ...]
#
# QEMU_X86_64 names another qemu than the one on the path; its release must know AVX2 (8 or later).
set -eu
ROOT=$(cd "$(dirname "$0")/.." && pwd)
QEMU=${QEMU_X86_64:-qemu-x86_64}
PYTHON=${PYTHON:-$ROOT/.venv/bin/python}
if ! command -v "$QEMU" > /dev/null; then
    echo "test-cpus: error: not here: $QEMU. Remedy: on Debian install the package qemu-user" >&2
    exit 2
fi
PACKAGES=$("$PYTHON" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
PROGRAM=$("$PYTHON" -c "import os, sys; print(os.path.realpath(sys.executable))")
for model in ${*:-Westmere SandyBridge IvyBridge Haswell-noTSX EPYC Skylake-Server}; do
    # NumPy's BLAS asks the host, not the model, what it may use; LiteRT asks the model.
    OPENBLAS_CORETYPE=Nehalem OPENBLAS_NUM_THREADS=1 PYTHONPATH="$PACKAGES:$ROOT:$ROOT/board" \
        "$QEMU" -cpu "$model" "$PROGRAM" -c "
from dpuflow.engines import probes, selftest
from dpuflow.engines.openvino.part import OPENVINO, OPENVINO_SIGNED
wrong = {library: list(selftest.failures(probes.BY_KIND, library))
         for library in (selftest.LITERT, OPENVINO, OPENVINO_SIGNED)}
for library, found in wrong.items():
    print('$model, %s:' % library.name, 'exact' if not found else 'refused, %d probes differ' % len(found))
found = wrong[selftest.LITERT] + wrong[OPENVINO]
raise SystemExit('; '.join(found) or 0)" 2> /dev/null || { echo "test-cpus: error: $model: not exact, or the process ended" >&2; exit 1; }
done
