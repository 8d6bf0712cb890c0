"""The vectors of csrc/common: each function does the same with every instruction set."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
VECTORS = sorted((HERE.parents[1] / 'csrc' / 'common').glob('simd_*.h'))
# what each needs, and torch's names of what this processor has
NEEDED = {'simd_avx2': {'AVX2', 'AVX512'}, 'simd_avx512': {'AVX512'}}

pytestmark = [
    pytest.mark.skipif(shutil.which('c++') is None, reason='no c++ on PATH'),
    pytest.mark.skipif(platform.machine() != 'x86_64', reason='vectors of x86-64'),
]


def test_all_instruction_sets_are_listed():
    assert [path.stem for path in VECTORS] == sorted(NEEDED)


@pytest.mark.parametrize('vectors', VECTORS, ids=lambda path: path.stem)
def test_every_function_lane_by_lane(vectors, tmp_path):
    program = tmp_path / 'check'
    command = ['c++', '-std=c++17', '-O2', '-Wall', '-Werror', '-Wno-psabi', '-ffp-contract=off']
    command += [f'-DVECTORS="{vectors}"', str(HERE / 'simd' / 'check_vectors.cpp')]
    result = subprocess.run([*command, '-o', str(program)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    if torch.backends.cpu.get_cpu_capability() not in NEEDED[vectors.stem]:
        pytest.skip(f'compiled, but this processor cannot run {vectors.stem}')
    result = subprocess.run([str(program)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
