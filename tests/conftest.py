"""Options, markers and data folders of the whole suite."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get('POLARSEG_SHARED', ROOT.parent / 'shared'))


def pytest_addoption(parser):
    parser.addoption(
        '--golden-dir',
        default=str(SHARED / 'golden'),
        help='folder with golden cases (NAME.json, NAME.npz, recipe.py)',
    )


def pytest_configure(config):
    folder = Path(config.getoption('--golden-dir'))
    if not folder.is_dir() and folder != SHARED / 'golden':
        raise pytest.UsageError(f'--golden-dir: there is no folder {folder}')
    config.addinivalue_line('markers', 'gpu: needs a CUDA device')


def pytest_collection_modifyitems(items):
    import torch

    if torch.cuda.is_available():
        return
    no_gpu = pytest.mark.skip(reason='no CUDA device')
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(no_gpu)


@pytest.fixture(scope='session')
def repo_root():
    return ROOT


@pytest.fixture(scope='session')
def default_golden_dir():
    return SHARED / 'golden'


@pytest.fixture(scope='session')
def shared_data():
    """Small real data; a clone of the repository comes without it."""
    folder = SHARED / 'data'
    if not folder.is_dir():
        pytest.skip(f'no real data at {folder}')
    return folder


def use_polarseg_scope():
    """Resolve bare component names as a config with our default scope does."""
    from mmengine.registry import init_default_scope

    init_default_scope('polarseg')


@pytest.fixture(scope='session', autouse=True)
def polarseg_scope_for_wide_fixtures():
    use_polarseg_scope()


@pytest.fixture(autouse=True)
def polarseg_scope():
    # a test before may have run a config of another scope
    use_polarseg_scope()
