"""tools/fuzz_ops.py: it finds nothing in the operators, and finds what is planted."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_detector import ROOT, environment

import polarseg.ops

SCRIPT = ROOT / 'tools/fuzz_ops.py'


@pytest.fixture(scope='module')
def fuzz_ops():
    """The script as a module; its folder is on the path of a script, but not of pytest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'tools'))
        yield importlib.import_module('fuzz_ops')


def failures(counts):
    return {name: count['failures'] for name, count in counts.items()}


def test_the_command_makes_calls_and_ends_with_a_table(tmp_path):
    current = tmp_path / 'current.txt'
    command = [sys.executable, str(SCRIPT), '--calls', '400', '--seed', '1']
    ended = subprocess.run(
        [*command, '--current', str(current)],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = [line.split() for line in ended.stdout.splitlines()]
    header, *rows = lines
    assert [row[0] for row in rows] == [*polarseg.ops.__all__, 'all']
    assert header[:3] == ['operator', 'calls', 'answers']
    assert header[-1] == 'failures'
    for row, calls in zip(rows, [80] * 5 + [400]):
        numbers = [int(number) for number in row[1:]]
        assert numbers[0] == calls == sum(numbers[1:])
        assert numbers[1] > calls // 2
        assert numbers[-1] == 0
        assert sum(numbers[2:-1]) > 0  # refusals
    last = '--operators polygons_to_rle --seed 1 --first 399 --calls 1'
    assert current.read_text().strip() == last


def test_every_operator_is_fuzzed(fuzz_ops):
    assert list(fuzz_ops.OPERATORS) == sorted(polarseg.ops.__all__)


def test_calls_depend_on_seed_and_number_alone(fuzz_ops):
    def text(name, index):
        return fuzz_ops.describe(list(fuzz_ops.draw(name, 3, index).arguments.values()))

    for name in fuzz_ops.OPERATORS:
        assert text(name, 5) == text(name, 5) != text(name, 6)


def spoilt(result):
    """The result with one thing wrong: a pixel, a number."""
    if isinstance(result, tuple):
        return spoilt(result[0]), *result[1:]
    if isinstance(result, torch.Tensor):
        if result.numel():
            result = result.clone()
            result.view(-1)[-1] += 3
        return result
    for mask in result:
        height, width = mask['size']
        if height * width > 1:  # all pixels but the first are foreground
            mask['counts'] = b'1' + number(height * width - 1)
    return result


def number(value):
    """COCO's characters of a run length."""
    text = b''
    while True:
        group, value = value & 31, value >> 5
        more = value != (-1 if group & 16 else 0)
        text += bytes([48 + group + 32 * more])
        if not more:
            return text


@pytest.mark.parametrize('name', polarseg.ops.__all__)
def test_a_wrong_result_is_noticed(fuzz_ops, name, monkeypatch, capsys):
    right = getattr(polarseg.ops, name)
    monkeypatch.setattr(polarseg.ops, name, lambda **arguments: spoilt(right(**arguments)))
    counts = fuzz_ops.fuzz([name], 60, seed=2)
    assert failures(counts)[name] > 10
    text = capsys.readouterr().out
    assert f'{name}, call ' in text
    assert 'wrong result: ' in text
    assert f'again: python tools/fuzz_ops.py --operators {name} --seed 2 --first ' in text


@pytest.mark.parametrize(
    'error',
    [
        KeyError('polar_ray_targets: none'),
        ValueError('polar_ray_targets: no reason'),
        ValueError('a sentence that names no operator'),
        MemoryError(),
    ],
    ids=repr,
)
def test_an_exception_that_was_not_due_is_noticed(fuzz_ops, error, monkeypatch, capsys):
    def refuse(**arguments):
        raise error

    monkeypatch.setattr(polarseg.ops, 'polar_ray_targets', refuse)
    counts = fuzz_ops.fuzz(['polar_ray_targets'], 40, seed=2)
    due = isinstance(error, ValueError) and str(error).startswith('polar_ray_targets')
    assert failures(counts)['polar_ray_targets'] == 40 - counts['polar_ray_targets']['ValueError']
    assert (counts['polar_ray_targets']['ValueError'] > 0) == due
    assert f'{type(error).__name__} came' in capsys.readouterr().out


def test_an_answer_to_broken_arguments_is_noticed(fuzz_ops, monkeypatch, capsys):
    monkeypatch.setattr(polarseg.ops, 'polygons_to_rle', lambda **arguments: [])
    assert failures(fuzz_ops.fuzz(['polygons_to_rle'], 60, seed=2))['polygons_to_rle'] > 10
    assert 'ValueError was due, but an answer came' in capsys.readouterr().out


def test_a_failure_is_the_status_of_the_command(fuzz_ops, monkeypatch, capsys):
    monkeypatch.setattr(polarseg.ops, 'polygons_to_rle', lambda **arguments: None)
    assert fuzz_ops.main(['--operators', 'polygons*', '--calls', '3']) == 1
    monkeypatch.undo()
    assert fuzz_ops.main(['--operators', 'polygons*', '--calls', '3']) == 0
    assert 'polygons_to_rle      3' in capsys.readouterr().out


@pytest.mark.parametrize(
    'arguments', [['--operators', 'none'], ['--calls', '0'], ['--seed', '-1'], ['--first', '-1']]
)
def test_arguments_of_the_command_are_checked(fuzz_ops, arguments, capsys):
    with pytest.raises(SystemExit):
        fuzz_ops.parse_args(arguments)
    text = capsys.readouterr().err
    assert 'there are' in text or 'must be at least' in text


def test_slow_answers_are_right_where_they_can_be_done_by_hand(fuzz_ops):
    polygons = fuzz_ops.polygons
    square = np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [1.0, 3.0]])
    filled = polygons._expected(square, 5, 6, 'fill')
    assert filled.sum() == 9
    assert filled[1:4, 1:4].all()
    assert polygons._expected(square, 5, 6, 'coco').sum() == 4
    assert polygons._expected(square + 9, 5, 6, 'fill') is None
