#!/usr/bin/env bash
# From a fresh clone to a trained, evaluated and drawn PolarMask: installs into .venv (first time
# only), writes synthetic pictures, trains, evaluates on held-out ones, draws.
#   bash tools/quickstart.sh [option of tools/quickstart.py ...]
# Results lie in work_dirs/quickstart; a GPU is used where torch sees one.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"
started=$SECONDS
bash tools/setup_env.sh
POLARSEG_INSTALL_SECONDS=$((SECONDS - started)) exec .venv/bin/python tools/quickstart.py "$@"
