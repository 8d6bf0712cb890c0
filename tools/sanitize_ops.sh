#!/usr/bin/env bash
# Builds the CPU operators with AddressSanitizer and UndefinedBehaviorSanitizer into build/sanitize,
# beside a copy of the package, and runs their tests and random calls with that build. What is
# installed stays as it is. Linux with GCC, and torch, pytest and what the tests need installed.
#   bash tools/sanitize_ops.sh [build] [tests] [fuzz] [option of pytest ...]
# Without a step all of them are done. Environment: PYTHON, MAX_JOBS, CXX; CALLS (10000), SEED (0) and
# OPERATORS (*) of the random calls; ATEN_CPU_CAPABILITY=avx2 or default for the other inner loops of
# deform_conv2d and polar_ray_targets.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
. "$ROOT/tools/common.sh"
PYTHON="$(command -v "$PYTHON")" || die "There is no $PYTHON; set PYTHON."
FOLDER="$ROOT/build/sanitize"
PACKAGE="$FOLDER/lib"

steps=()
while [ $# -gt 0 ]; do
    case "$1" in
        build | tests | fuzz) steps+=("$1") && shift ;;
        *) break ;;
    esac
done
[ ${#steps[@]} -gt 0 ] || steps=(build tests fuzz)

say() {
    echo "sanitize: $*"
}

# Libraries that must come before all others: Python itself is not built with sanitizers. The
# C++ library is among them because AddressSanitizer has to find its exceptions when it starts.
preloaded() {
    local name path found=
    for name in libasan.so libubsan.so libstdc++.so; do
        path="$("${CXX:-c++}" -print-file-name="$name")"
        [ -e "$path" ] || die "${CXX:-c++} has no $name; install its sanitizers."
        found="${found:+$found:}$(readlink -f "$path")"
    done
    echo "$found"
}

# sanitized COMMAND ...: runs it in the folder of the copy, where `import polarseg` finds that.
# Python does not free what it holds at its end, so leaks are not looked for. Faults end the process.
# Fresh memory is filled with 255, in floats NaN: who reads it before writing it gives wrong results.
sanitized() {
    (
        cd "$PACKAGE"
        export PYTHONPATH="$PACKAGE"
        local options=detect_leaks=0:detect_stack_use_after_return=1
        options+=:malloc_fill_byte=255:max_malloc_fill_size=$((1 << 28))
        export ASAN_OPTIONS="$options:${ASAN_OPTIONS:-}"
        export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}"
        export LD_PRELOAD="$PRELOAD"
        exec "$@"
    )
}

build() {
    say "building into $FOLDER (the log is $FOLDER/build.log)"
    mkdir -p "$FOLDER"
    # a file that has left the package must leave the copy
    rm -rf "$PACKAGE"
    (cd "$ROOT" && POLARSEG_SANITIZE=1 "$PYTHON" setup.py -q build \
        --build-base "$FOLDER" --build-lib "$PACKAGE") >"$FOLDER/build.log" 2>&1 ||
        { tail -n 40 "$FOLDER/build.log" >&2; die "The build has failed."; }
}

# That the sanitized library is the one that is loaded, and that it is sanitized.
check() {
    local library
    library="$(sanitized "$PYTHON" -c 'import torch, polarseg.ops
print(*(path for path in torch.ops.loaded_libraries if "polarseg" in path))')" ||
        die "The sanitized operators cannot be loaded; run: bash tools/sanitize_ops.sh build"
    case "$library" in
        "$PACKAGE"/polarseg/_C*) ;;
        *) die "Another library was loaded: $library" ;;
    esac
    grep -q __asan_report "$library" || die "$library was not built with AddressSanitizer."
    grep -q __ubsan_handle "$library" ||
        die "$library was not built with UndefinedBehaviorSanitizer."
    say "$library is loaded and sanitized"
}

tests() {
    say "tests/test_ops $*"
    sanitized "$PYTHON" -m pytest -p no:cacheprovider "$ROOT/tests/test_ops" "$@" ||
        die "Tests have failed with sanitizers."
}

fuzz() {
    say "${CALLS:-10000} random calls of ${OPERATORS:-*}"
    sanitized "$PYTHON" "$ROOT/tools/fuzz_ops.py" --calls "${CALLS:-10000}" --seed "${SEED:-0}" \
        --operators "${OPERATORS:-*}" --current "$FOLDER/current_call.txt" ||
        die "Random calls have failed with sanitizers; the last was $(cat "$FOLDER/current_call.txt")"
}

PRELOAD="$(preloaded)"
for step in "${steps[@]}"; do
    start=$SECONDS
    case "$step" in
        build) build ;;
        tests) check && tests "$@" ;;
        fuzz) check && fuzz ;;
    esac
    say "$step: no fault, $((SECONDS - start)) s"
done
