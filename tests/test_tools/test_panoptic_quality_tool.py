"""The command line of panoptic quality: table, JSON, folders, errors."""

import importlib.util
import json
import re

import numpy as np
import pytest

from polarseg.structures import PanopticMap, Segment
from polarseg.structures.panoptic_files import Category, write_panoptic

CATEGORIES = [Category(1, 'cat', True), Category(5, 'owl', True), Category(92, 'sky', False)]


@pytest.fixture(scope='module')
def tool(repo_root):
    path = repo_root / 'tools/analysis_tools/panoptic_quality.py'
    spec = importlib.util.spec_from_file_location('polarseg_tool_panoptic_quality', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def files(tmp_path):
    """Cat: IoU 0.6 and one missed in each of three pictures; sky: perfect."""
    true, found = np.zeros((2, 2, 20), int)
    true[:, :6], true[:, 6:10], true[:, 10:] = 7, 8, 9
    found[:, :10], found[:, 10:] = 1, 2
    pictures = dict(
        truth=PanopticMap(true, [Segment(7, 1, True), Segment(8, 1, True), Segment(9, 92, False)]),
        found=PanopticMap(found, [Segment(1, 1, True), Segment(2, 92, False)]),
    )
    for name, panoptic in pictures.items():
        entries = [(number, f'{number}.jpg', panoptic) for number in (1, 2, 3)]
        write_panoptic(tmp_path / f'{name}.json', entries, CATEGORIES)
    return str(tmp_path / 'found.json'), str(tmp_path / 'truth.json')


@pytest.mark.parametrize('processes', ['1', '2'])
def test_table_and_json(tool, files, tmp_path, capsys, processes):
    file = tmp_path / 'report.json'
    tool.main([*files, '--classwise', '--processes', processes, '--json', str(file)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == [
        '| All | 70.00 | 80.00 | 83.33 | 2 |',
        '| Things | 40.00 | 60.00 | 66.67 | 1 |',
        '| Stuff | 100.00 | 100.00 | 100.00 | 1 |',
    ]
    assert '| cat | thing | 40.00 | 60.00 | 66.67 | 3 | 0 | 3 |' in lines
    assert lines[-1] == '3 pictures'
    report = json.loads(file.read_text())
    assert report['pictures'] == 3
    assert report['things'] == pytest.approx(dict(pq=40, sq=60, rq=200 / 3, classes=1))
    assert report['all'] == pytest.approx(dict(pq=70, sq=80, rq=250 / 3, classes=2))
    cat, owl, _ = report['per_class']
    assert (cat['id'], cat['name'], cat['isthing']) == (1, 'cat', True)
    assert cat['pq'] == pytest.approx(40)
    assert (cat['true_positives'], cat['false_positives'], cat['false_negatives']) == (3, 0, 3)
    assert owl['pq'] == owl['true_positives'] == 0


def test_folders_elsewhere(tool, files, tmp_path, capsys):
    (tmp_path / 'found').rename(tmp_path / 'a')
    (tmp_path / 'truth').rename(tmp_path / 'b')
    options = ['--predicted-folder', str(tmp_path / 'a'), '--truth-folder', str(tmp_path / 'b')]
    tool.main([*files, *options])
    printed = capsys.readouterr().out
    assert '| Things | 40.00 |' in printed
    assert 'cat' not in printed


def test_no_pictures(tool, files, tmp_path):
    for name in ('found', 'truth'):
        write_panoptic(tmp_path / f'{name}.json', [], CATEGORIES)
    tool.main([*files, '--json', str(tmp_path / 'report.json')])
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['all'] == dict(pq=None, sq=None, rq=None, classes=0)


def break_json(tmp_path):
    (tmp_path / 'found.json').write_text('{')


def lose_a_png(tmp_path):
    (tmp_path / 'found/2.png').unlink()


def lose_the_truth(tmp_path):
    (tmp_path / 'truth.json').unlink()


@pytest.mark.parametrize(
    ('edit', 'said'),
    [
        (break_json, r'PanopticFileError: .*found.json: cannot be read as JSON'),
        (lose_a_png, r"FileNotFoundError: .*found/2.png'"),
        (lose_the_truth, r"FileNotFoundError: .*truth.json'"),
    ],
)
def test_what_cannot_be_used_is_named(tool, files, tmp_path, capsys, edit, said):
    edit(tmp_path)
    with pytest.raises(SystemExit) as info:
        tool.main(list(files))
    assert info.value.code == 2
    assert re.match(said, capsys.readouterr().err)


def test_a_wrong_option_is_named(tool, files, capsys):
    with pytest.raises(SystemExit) as info:
        tool.main([*files, '--processes', '0'])
    assert info.value.code == 2
    assert 'at least 1, got 0' in capsys.readouterr().err
