#!/bin/sh
# Compile the quantized network of a model, from any folder:
#     sh compile/dnnc.sh [MODEL [OUTPUT_DIR]]
# TARGET is a board, a target's name, a fingerprint, an arch.json or a .dcf (default zedboard).
# DNNC names another compiler, for example the vendor's own (give TARGET a .dcf then).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
model=${1:-${MODEL:-chars74k}}
build=${BUILD:-$root/build}/$model
output=${2:-$build/dnnc}
dnnc=${DNNC:-$root/.venv/bin/dnnc}
target=${TARGET:-zedboard}

if [ ! -f "$build/quantize/deploy_model.pb" ]; then
    echo "dnnc.sh: $build/quantize/deploy_model.pb: no such file. Remedy: run 'make quantize MODEL=$model'" >&2
    exit 1
fi
case $target in
    *.dcf) core="--dcf=$target" ;;
    *) core="--target=$target" ;;
esac
if [ -z "${DNNC:-}" ]; then
    set -- "--info=$build/quantize/manifest.json"
else
    set --
fi
# Layers that stay in float behind the DPU's part stand in the evaluation graph only; the vendor's compiler wants the
# DPU's part alone.
graph=deploy_model.pb HAS_TAIL=
if [ -f "$build/freeze/nodes.env" ]; then
    . "$build/freeze/nodes.env"
fi
if [ -n "$HAS_TAIL" ] && [ -z "${DNNC:-}" ]; then
    graph=quantize_eval_model.pb
fi
exec "$dnnc" \
    --parser=tensorflow \
    --frozen_pb="$build/quantize/$graph" \
    "$core" \
    --cpu_arch=arm32 \
    --mode=normal \
    --output_dir="$output" \
    --net_name="$model" \
    "$@"
