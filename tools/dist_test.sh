#!/bin/sh
# Test in several processes, one per GPU (or on CPUs where there is no GPU).
#   sh tools/dist_test.sh CONFIG CHECKPOINT GPUS [option of tools/test.py ...]
# On several machines set NNODES, NODE_RANK, MASTER_ADDR and PORT on each; see docs/training.md.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$ROOT/tools/common.sh"

[ $# -ge 3 ] || die "usage: sh $0 CONFIG CHECKPOINT GPUS [option of tools/test.py ...]"
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
shift 3
require_count GPUS "$GPUS"
run_distributed "$GPUS" "$ROOT/tools/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
