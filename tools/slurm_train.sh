#!/bin/sh
# Train through Slurm.
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#       sh tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [option of tools/train.py ...]
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$ROOT/tools/common.sh"

[ $# -ge 4 ] || die "usage: sh $0 PARTITION JOB_NAME CONFIG WORK_DIR [option of tools/train.py ...]"
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
WORK_DIR=$4
shift 4
run_slurm "$PARTITION" "$JOB_NAME" \
    "$ROOT/tools/train.py" "$CONFIG" --work-dir="$WORK_DIR" --launcher=slurm "$@"
