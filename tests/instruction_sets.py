"""Running code with the kernels of one instruction set."""

import os
import subprocess
import sys

import pytest
import torch

CAPABILITIES = ('default', 'avx2', 'avx512')
"""Values of ATEN_CPU_CAPABILITY, from the least to the most."""


def run_with(capability, code, *arguments):
    """Runs Python code in a process of its own; skips where the processor lacks the instructions.

    torch does not ask the processor whether it has what the variable names.

    Args:
        capability: one of CAPABILITIES.
        code: Python.
        *arguments: become its ``sys.argv[1:]``.
    """
    # another processor's names, or this process's own limit, stand for the least
    present = torch.backends.cpu.get_cpu_capability().lower()
    most = CAPABILITIES.index(present) if present in CAPABILITIES else 0
    if CAPABILITIES.index(capability) > most:
        pytest.skip(f'this processor has no {capability}')
    environment = os.environ | {'ATEN_CPU_CAPABILITY': capability}
    command = [sys.executable, '-c', code, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
