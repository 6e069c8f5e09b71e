#!/bin/sh
# Quantize the frozen network of a model, from any folder:
#     sh quantize/decent_q.sh [MODEL [OUTPUT_DIR]]
# DECENT_Q names another quantizer, for example the vendor's own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
model=${1:-${MODEL:-chars74k}}
build=${BUILD:-$root/build}/$model
output=${2:-$build/decent_q}
decent_q=${DECENT_Q:-$root/.venv/bin/decent_q}

if [ ! -f "$build/freeze/frozen_model.pb" ]; then
    echo "decent_q.sh: $build/freeze/frozen_model.pb: no such file. Remedy: run 'make freeze MODEL=$model'" >&2
    exit 1
fi
export DPUFLOW_CALIBRATION="${DPUFLOW_CALIBRATION:-$build/train/calibration.npz}"
# The nodes that the freeze stage found; without its file, those of the Chars74K network.
INPUT_NODES=input_real INPUT_SHAPES='?,32,32,1' OUTPUT_NODES=discriminator/out CALIBRATION_BATCH=128
if [ -f "$build/freeze/nodes.env" ]; then
    . "$build/freeze/nodes.env"
fi
export DPUFLOW_INPUT_NODE="${DPUFLOW_INPUT_NODE:-$INPUT_NODES}"
export DPUFLOW_CALIBRATION_BATCH="${DPUFLOW_CALIBRATION_BATCH:-$CALIBRATION_BATCH}"
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
exec "$decent_q" quantize \
    --input_frozen_graph "$build/freeze/frozen_model.pb" \
    --input_nodes "$INPUT_NODES" \
    --input_shapes "$INPUT_SHAPES" \
    --output_nodes "$OUTPUT_NODES" \
    --input_fn input_fn.calibration_input \
    --method 1 \
    --calib_iter 10 \
    --output_dir "$output"
