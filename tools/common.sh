# Sourced by dist_*.sh and slurm_*.sh after they set ROOT, the folder of the repository.

# The interpreter: $PYTHON, else the repository's own environment, else python3.
if [ -z "${PYTHON:-}" ]; then
    if [ -x "$ROOT/.venv/bin/python" ]; then
        PYTHON="$ROOT/.venv/bin/python"
    else
        PYTHON=python3
    fi
fi
PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH

die() {
    echo "$*" >&2
    exit 2
}

# require_count NAME VALUE: VALUE must be a whole number above 0.
require_count() {
    case "$2" in
        '' | *[!0-9]* | 0) die "$1 must be a number of processes, got '$2'" ;;
    esac
}

# run_distributed PROCESSES SCRIPT [ARGUMENT ...]: torchrun on this machine.
# From the environment: NNODES, NODE_RANK, MASTER_ADDR, PORT.
run_distributed() {
    processes=$1
    shift
    NNODES=${NNODES:-1}
    if [ -z "${PORT:-}" ]; then
        if [ "$NNODES" -eq 1 ]; then
            PORT=$("$PYTHON" -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])')
        else
            # All machines must agree on it.
            PORT=29500
        fi
    fi
    if [ -z "${OMP_NUM_THREADS:-}" ]; then
        # Every process would otherwise start a thread for every core.
        cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
        OMP_NUM_THREADS=$((cores / processes))
        [ "$OMP_NUM_THREADS" -ge 1 ] || OMP_NUM_THREADS=1
    fi
    export OMP_NUM_THREADS
    exec "$PYTHON" -m torch.distributed.run \
        --nnodes="$NNODES" \
        --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --master_port="$PORT" \
        --nproc_per_node="$processes" \
        "$@"
}

# run_slurm PARTITION JOB_NAME SCRIPT [ARGUMENT ...]: one task per GPU through srun.
# From the environment: GPUS, GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS.
run_slurm() {
    partition=$1
    job_name=$2
    shift 2
    GPUS=${GPUS:-8}
    require_count GPUS "$GPUS"
    if [ -z "${GPUS_PER_NODE:-}" ]; then
        GPUS_PER_NODE=8
        [ "$GPUS" -ge 8 ] || GPUS_PER_NODE=$GPUS
    fi
    require_count GPUS_PER_NODE "$GPUS_PER_NODE"
    # SRUN_ARGS is a list of options, so it must be split into words.
    # shellcheck disable=SC2086
    exec srun \
        --partition="$partition" \
        --job-name="$job_name" \
        --gres="gpu:$GPUS_PER_NODE" \
        --ntasks="$GPUS" \
        --ntasks-per-node="$GPUS_PER_NODE" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" \
        --kill-on-bad-exit=1 \
        ${SRUN_ARGS:-} \
        "$PYTHON" -u "$@"
}
