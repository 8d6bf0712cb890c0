"""Finds the golden cases and hands each test the cases of its family."""

import fnmatch
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

# family of a case by its name; the first pattern that fits counts
FAMILIES = {
    'layout_polarmask*': 'polarmask_layout',
    'polarmask_units*': 'polarmask_units',
    'polarmask_targets*': 'polarmask_targets',
    'polarmask_*': 'polarmask_network',
    'layout_centermask*': 'centermask_layout',
    'centermask_units*': 'centermask_units',
    'centermask_*': 'centermask_network',
    'centermask2_*': 'centermask_network',
    'layout_blendmask*': 'blendmask_layout',
    'blendmask_units*': 'blendmask_units',
    'blendmask_panoptic*': 'not_built',
    'blendmask_*': 'blendmask_network',
}
NOT_BUILT = 'not_built'


def family_of(name):
    for pattern, family in FAMILIES.items():
        if fnmatch.fnmatch(name, pattern):
            return family
    return NOT_BUILT


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker('golden')
    if marker is None:
        return
    folder = Path(metafunc.config.getoption('--golden-dir'))
    names = sorted(path.stem for path in folder.glob('*.json'))
    names = [name for name in names if family_of(name) == marker.args[0]]
    if not names:
        reason = f'no case of the family {marker.args[0]} in {folder}'
        names = [pytest.param(None, marks=pytest.mark.skip(reason=reason), id='none')]
    metafunc.parametrize('case_name', names, scope='module')


def pytest_configure(config):
    config.addinivalue_line('markers', 'golden(family): runs once for each case of the family')


@pytest.fixture(scope='session')
def golden_dir(request):
    return Path(request.config.getoption('--golden-dir'))


@pytest.fixture(scope='session')
def recipe(golden_dir, default_golden_dir):
    """The module that rebuilds the published networks' weights from tensor names."""
    candidates = [folder / 'recipe.py' for folder in (golden_dir, default_golden_dir)]
    found = [path for path in candidates if path.is_file()]
    if not found:
        pytest.skip(f'no recipe.py in {golden_dir} or {default_golden_dir}')
    spec = importlib.util.spec_from_file_location('golden_recipe', found[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def case(golden_dir, case_name):
    """A case's JSON, its arrays under 'arrays'."""
    content = json.loads((golden_dir / f'{case_name}.json').read_text())
    content['arrays'] = {}
    if (golden_dir / f'{case_name}.npz').is_file():
        with np.load(golden_dir / f'{case_name}.npz') as data:
            content['arrays'] = {key: data[key] for key in data.files}
    return content
