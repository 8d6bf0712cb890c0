#!/usr/bin/env bash
# Makes .venv and installs everything into it, in the order that works. Safe to repeat: what is
# already in place is left alone. Called by quickstart.sh and run_tests.sh, or by itself.
#   PYTHON=python3.11 bash tools/setup_env.sh      # another interpreter than python3
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"

fingerprint() { # of files and folders, their content only
    (cd "$ROOT" && find "$@" -type f -not -name '*.so' | LC_ALL=C sort | xargs cat | cksum)
}

step() { echo "==> $*"; }

make_venv() {
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && return
    step "making .venv"
    "${PYTHON:-python3}" - <<'PY'
import sys
if sys.version_info < (3, 11):
    sys.exit(f'the pinned packages need Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}; '
             'name another with PYTHON=...')
PY
    "${PYTHON:-python3}" -m venv "$VENV"
}

install_requirements() {
    local stamp="$VENV/.requirements" wanted
    wanted="$(fingerprint requirements.txt)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    local pip=("$VENV/bin/python" -m pip --disable-pip-version-check install -q)
    step "installing torch"
    # where a machine offers a CPU build of this version pip takes it, else the index's CUDA build
    "${pip[@]}" -c "$ROOT/requirements.txt" torch setuptools wheel ninja packaging numpy
    step "building mmcv's operators (10 minutes or so the first time)"
    # Without isolation, so that they are built against the torch just installed: an isolated build
    # has no torch and yields a wheel without operators. -O2 must be said: these CFLAGS replace
    # Python's own.
    MAX_JOBS="${MAX_JOBS:-$(nproc)}" CFLAGS="-O2 -g0 -DNDEBUG" "${pip[@]}" --no-build-isolation \
        --no-deps "$(grep '^onedl-mmcv==' "$ROOT/requirements.txt")"
    step "installing the rest"
    "${pip[@]}" --no-build-isolation -r "$ROOT/requirements.txt"
    if ! "$VENV/bin/python" -c 'import mmcv._ext' 2>/dev/null; then
        echo "mmcv is installed without its operators: an earlier isolated build left such a wheel" \
            "in pip's cache. Run 'pip cache remove onedl_mmcv', delete .venv, and try again." >&2
        exit 1
    fi
    echo "$wanted" >"$stamp"
}

build_polarseg() {
    local stamp="$VENV/.polarseg" wanted
    wanted="$(fingerprint setup.py csrc polarseg/version.py) $(
        "$VENV/bin/python" -c 'import torch; print(torch.__version__)')"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$VENV/bin/python" -c 'import polarseg.ops' &&
        return
    step "building polarseg's operators"
    MAX_JOBS="${MAX_JOBS:-$(nproc)}" "$VENV/bin/python" -m pip --disable-pip-version-check \
        install -q --no-build-isolation --no-deps -e "$ROOT"
    echo "$wanted" >"$stamp"
}

make_venv
install_requirements
build_polarseg
