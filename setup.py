"""Builds and installs polarseg: ``pip install --no-build-isolation -e .``

The compiled operators are built against the torch that is installed, hence without isolation.
Environment variables:

* ``FORCE_CUDA=1`` demands the CUDA operators (an error where torch or the toolkit lacks CUDA),
  ``FORCE_CUDA=0`` leaves them out. Unset: they are built when torch has CUDA and a toolkit is
  found, whether or not a GPU is visible.
* ``POLARSEG_SANITIZE=1`` builds for finding faults, not for use: with AddressSanitizer and
  UndefinedBehaviorSanitizer (tools/sanitize_ops.sh; GCC or Clang, CPU alone).
* ``TORCH_CUDA_ARCH_LIST``, ``CUDA_HOME``, ``MAX_JOBS``: as torch.utils.cpp_extension reads them.
"""

import os
import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read_version():
    """The version from polarseg/version.py, without importing the package."""
    text = (ROOT / 'polarseg' / 'version.py').read_text(encoding='utf-8')
    match = re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE)
    if match is None:
        raise RuntimeError("polarseg/version.py holds no line __version__ = '...'")
    return match.group(1)


def import_cpp_extension():
    try:
        from torch.utils import cpp_extension
    except ImportError as error:
        raise SystemExit(
            'polarseg compiles its operators against the installed torch, but torch cannot be '
            f'imported here ({error}). Install torch first, then run '
            '`pip install --no-build-isolation -e .`: with build isolation pip hides your torch.'
        ) from error
    return cpp_extension


def wants_cuda(cuda_home):
    """Whether to build the CUDA operators; see the top of this file."""
    import torch

    choice = os.environ.get('FORCE_CUDA', '')
    if choice not in ('', '0', '1'):
        raise SystemExit(f"FORCE_CUDA must be 0, 1 or unset, got '{choice}'.")
    available = torch.version.cuda is not None and cuda_home is not None
    if choice == '1' and not available:
        missing = (
            'torch was built without CUDA' if torch.version.cuda is None else 'no CUDA toolkit'
        )
        raise SystemExit(f'FORCE_CUDA=1, but {missing} was found (set CUDA_HOME for a toolkit).')
    return available and choice != '0'


def sanitizing():
    """Whether to build with sanitizers; see the top of this file."""
    choice = os.environ.get('POLARSEG_SANITIZE', '')
    if choice not in ('', '0', '1'):
        raise SystemExit(f"POLARSEG_SANITIZE must be 0, 1 or unset, got '{choice}'.")
    if choice == '1' and sys.platform == 'win32':
        raise SystemExit('POLARSEG_SANITIZE=1 needs GCC or Clang, not the compiler of Windows.')
    return choice == '1'


# A fault ends the process. Python's own flags may hold -fwrapv, under which no sum overflows, so it
# is taken back. float-cast-overflow: a number that does not fit the integer it becomes,
# which `undefined` leaves out. vptr wants type information that torch's libraries do not export.
SANITIZERS = ['-fsanitize=address,undefined,float-cast-overflow', '-fno-sanitize=vptr']
SANITIZED = [*SANITIZERS, '-fno-sanitize-recover=all', '-fno-omit-frame-pointer', '-O1', '-g']
SANITIZED += ['-fno-wrapv', '-D_GLIBCXX_ASSERTIONS']  # an index beyond a std::vector, too


def build_extension(cpp_extension):
    """The one library polarseg._C, CPU always and CUDA where it can be built."""
    cuda = not sanitizing() and wants_cuda(cpp_extension.CUDA_HOME)
    suffixes = ('*.cpp', '*.cu') if cuda else ('*.cpp',)
    sources = [path for suffix in suffixes for path in sorted((ROOT / 'csrc').rglob(suffix))]
    if not cuda:
        sources = [path for path in sources if not path.name.endswith('_cuda_binding.cpp')]
    # -ffp-contract=off: float32 rules are repeated operation by operation (csrc/polar_rays). The
    # next two let comparisons vectorise; they change no value. Python's own flags may hold -fwrapv,
    # which slows loops; no sum of integers overflows (the sanitizers see to it).
    host = ['-O3', '-g0', '-Wall', '-fopenmp']
    host += ['-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math', '-fno-wrapv']
    if sys.platform == 'win32':
        host = ['/O2', '/fp:precise', '/openmp']
    elif sys.platform == 'darwin':
        host.remove('-fopenmp')
    link = ['-fopenmp'] if '-fopenmp' in host else []
    if sanitizing():
        host = [flag for flag in host if flag not in ('-O3', '-g0')] + SANITIZED
        link += SANITIZERS
    kind = cpp_extension.CUDAExtension if cuda else cpp_extension.CppExtension
    return kind(
        name='polarseg._C',
        sources=[str(path.relative_to(ROOT)) for path in sources],
        depends=[str(path.relative_to(ROOT)) for path in sorted((ROOT / 'csrc').rglob('*.h'))],
        define_macros=[('POLARSEG_WITH_CUDA', None)] if cuda else [],
        extra_compile_args={'cxx': host, 'nvcc': ['-O3']},
        extra_link_args=link,
        # The library registers operators and holds no Python symbol: one build serves every Python.
        py_limited_api=True,
    )


cpp_extension = import_cpp_extension()
readme = ROOT / 'README.md'

setup(
    name='polarseg',
    version=read_version(),
    description='PolarMask, BlendMask and CenterMask on mmdetection 3.x',
    long_description=readme.read_text(encoding='utf-8') if readme.is_file() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['polarseg', 'polarseg.*']),
    package_data={},
    # torch, mmcv, mmengine and mmdet are used but not required here, because pip would resolve a
    # requirement by name: it would put the maintained forks (onedl-*) over an upstream mmcv, whose
    # folders they share, or fetch a torch other than the one this build is compiled against. Which
    # versions work together stands in the README and in requirements.txt.
    install_requires=['numpy'],
    ext_modules=[build_extension(cpp_extension)],
    cmdclass={'build_ext': cpp_extension.BuildExtension},
    options={'bdist_wheel': {'py_limited_api': 'cp310'}},
    zip_safe=False,
)
