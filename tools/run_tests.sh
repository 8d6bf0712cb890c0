#!/usr/bin/env bash
# Installs into .venv (first time only), then runs all tests.
#   bash tools/run_tests.sh [option of pytest ...]
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"
bash tools/setup_env.sh
exec .venv/bin/python -m pytest tests "$@"
