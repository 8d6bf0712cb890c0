#!/bin/sh
# Train in several processes, one per GPU (or on CPUs where there is no GPU).
#   sh tools/dist_train.sh CONFIG GPUS [option of tools/train.py ...]
# On several machines set NNODES, NODE_RANK, MASTER_ADDR and PORT on each; see docs/training.md.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$ROOT/tools/common.sh"

[ $# -ge 2 ] || die "usage: sh $0 CONFIG GPUS [option of tools/train.py ...]"
CONFIG=$1
GPUS=$2
shift 2
require_count GPUS "$GPUS"
run_distributed "$GPUS" "$ROOT/tools/train.py" "$CONFIG" --launcher pytorch "$@"
