"""The sources and the build script, as far as they can be checked without a GPU."""

import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from torch.utils import cpp_extension

ROOT = Path(__file__).resolve().parents[2]
CUDA_SOURCES = sorted((ROOT / 'csrc').rglob('*.cu'))
BINDINGS = sorted((ROOT / 'csrc').rglob('*_cuda_binding.cpp'))

needs_nvcc = pytest.mark.skipif(shutil.which('nvcc') is None, reason='no nvcc on PATH')
by_name = {'ids': lambda path: path.name if isinstance(path, Path) else path}


def run(command, cwd=None):
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert result.returncode == 0, f'{" ".join(command)}\n{result.stdout}{result.stderr}'
    return result.stdout + result.stderr


def test_there_are_kernels_and_bindings():
    assert CUDA_SOURCES
    assert len(BINDINGS) == len(CUDA_SOURCES)


@needs_nvcc
@pytest.mark.parametrize('architecture', ['sm_75', 'sm_80', 'sm_90'])
@pytest.mark.parametrize('source', CUDA_SOURCES, **by_name)
def test_kernels_compile_without_a_warning(source, architecture, tmp_path):
    target = tmp_path / 'kernels.o'
    strict = ['--Werror', 'all-warnings', '-Xcompiler', '-Wall,-Werror']
    options = ['-c', '-std=c++17', '-O3', f'-arch={architecture}', *strict]
    run(['nvcc', *options, str(source), '-o', str(target)])
    assert target.stat().st_size > 0


@needs_nvcc
@pytest.mark.skipif(shutil.which('c++') is None, reason='no c++ on PATH')
@pytest.mark.parametrize('source', BINDINGS, **by_name)
def test_cuda_bindings_compile_against_the_headers_of_this_torch(source, tmp_path):
    plan = subprocess.run(
        ['nvcc', '-dryrun', '-c', str(CUDA_SOURCES[0]), '-o', str(tmp_path / 'x.o')],
        capture_output=True,
        text=True,
    ).stderr
    toolkit = re.search(r'^#\$ INCLUDES="-I([^"]+)"', plan, re.MULTILINE)
    assert toolkit is not None, plan
    # A CPU build of torch has the CUDA headers, but not the file that names its configuration.
    macros = [] if torch.version.cuda else ['-DC10_CUDA_NO_CMAKE_CONFIGURE_FILE']
    includes = [f'-I{path}' for path in [*cpp_extension.include_paths(), toolkit.group(1).strip()]]
    run(['c++', '-std=c++20', '-fsyntax-only', '-w', *macros, *includes, str(source)])


@pytest.fixture
def run_setup(monkeypatch):
    """Runs setup.py with setuptools.setup replaced; returns the keywords that it got."""

    def run_it():
        received = {}
        monkeypatch.setattr('setuptools.setup', lambda **keywords: received.update(keywords))
        runpy.run_path(str(ROOT / 'setup.py'))
        return received

    return run_it


def test_setup_without_cuda_takes_the_cpu_sources_alone(run_setup, monkeypatch):
    monkeypatch.setenv('FORCE_CUDA', '0')
    keywords = run_setup()
    (extension,) = keywords['ext_modules']
    names = {Path(source).name for source in extension.sources}
    assert {'registration.cpp', 'polar_rays_cpu.cpp'} <= names
    assert not any('cuda' in name for name in names)
    assert '-ffp-contract=off' in extension.extra_compile_args['cxx'] or sys.platform == 'win32'
    assert 'polarseg.ops' in keywords['packages']
    assert not any(name.startswith('tests') for name in keywords['packages'])


@pytest.mark.parametrize('choice', ['', '1'])
def test_setup_with_cuda_takes_every_source(run_setup, monkeypatch, choice):
    monkeypatch.setenv('FORCE_CUDA', choice)
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(cpp_extension, 'CUDA_HOME', '/a/toolkit')
    # The real one looks for the toolkit's libraries; which sources it gets is what matters here.
    monkeypatch.setattr(cpp_extension, 'CUDAExtension', cpp_extension.CppExtension)
    (extension,) = run_setup()['ext_modules']
    assert ('POLARSEG_WITH_CUDA', None) in extension.define_macros
    every = {
        str(p.relative_to(ROOT)) for p in (ROOT / 'csrc').rglob('*') if p.suffix in ('.cpp', '.cu')
    }
    assert set(extension.sources) == every


def test_setup_refuses_to_force_cuda_where_there_is_none(run_setup, monkeypatch):
    monkeypatch.setenv('FORCE_CUDA', '1')
    monkeypatch.setattr(torch.version, 'cuda', None)
    with pytest.raises(SystemExit, match='FORCE_CUDA=1, but torch was built without CUDA'):
        run_setup()


def test_setup_refuses_an_unknown_choice(run_setup, monkeypatch):
    monkeypatch.setenv('FORCE_CUDA', 'yes')
    with pytest.raises(SystemExit, match="FORCE_CUDA must be 0, 1 or unset, got 'yes'"):
        run_setup()


def test_setup_without_torch_says_how_to_install(tmp_path):
    code = (
        "import runpy, sys; sys.modules['torch'] = None; "
        f'runpy.run_path({str(ROOT / "setup.py")!r})'
    )
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode != 0
    assert '--no-build-isolation' in result.stderr


def test_setup_reads_the_version_of_the_package(run_setup, monkeypatch):
    from polarseg.version import __version__

    monkeypatch.setenv('FORCE_CUDA', '0')
    assert run_setup()['version'] == __version__


def test_source_archive_holds_what_any_build_needs(tmp_path, monkeypatch):
    """Also the CUDA sources, where the archive is made without CUDA, and the build backend."""
    monkeypatch.setenv('FORCE_CUDA', '0')
    folders = ['egg_info', '--egg-base', tmp_path, 'sdist', '--dist-dir', tmp_path]
    run([sys.executable, 'setup.py', '-q', *map(str, folders)], cwd=ROOT)
    (archive,) = tmp_path.glob('*.tar.gz')
    with tarfile.open(archive) as files:
        names = {name.partition('/')[2] for name in files.getnames()}
    needed = {str(p.relative_to(ROOT)) for p in (ROOT / 'csrc').rglob('*.*') if p.is_file()}
    needed |= {'setup.py', 'pyproject.toml', 'tools/build_backend.py', 'polarseg/ops/__init__.py'}
    assert needed <= names, needed - names
    assert not any(name.startswith('tests/') for name in names)
