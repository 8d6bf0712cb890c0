"""tools/benchmarks: how it measures and compares; that peers are right; that every script runs."""

import argparse
import importlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_detector import ROOT, environment

from polarseg.ops import polar_ray_targets

FOLDER = ROOT / 'tools/benchmarks'
KEYS = {
    'operator',
    'case',
    'ours_ms',
    'ours_min',
    'ours_max',
    'peer',
    'peer_ms',
    'peer_min',
    'peer_max',
    'ratio',
    'identical',
    'max_error',
    'ok',
    'note',
    'repeats',
    'threads',
    'device',
    'dtype',
}
SCRIPTS = {
    'polar_rays': {'polar_ray_targets', 'PolarMask label making'},
    'deform_conv2d': {'deform_conv2d'},
    'rle': {'polygons_to_rle', 'paste_masks_to_rle'},
    'largest_contours': {'largest_contours'},
    'blend': {'BlendMask attention', 'BlendMask mask loss', 'BlendMask blending'},
}


@pytest.fixture(scope='module')
def tool():
    """Imports a module of the folder as the scripts there do."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))
    own = {path.stem for path in FOLDER.glob('*.py')} | {'peers'}
    for name in set(sys.modules) - before:
        if name.partition('.')[0] in own:
            del sys.modules[name]


@pytest.fixture(autouse=True)
def keep_threads():
    """Cases set the number of threads of the process."""
    cv2 = importlib.import_module('cv2')
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


# ---- timing --------------------------------------------------------------------------------------


class FakeClock:
    """Says that calls take the seconds it was given, and writes down who was called."""

    def __init__(self, **seconds):
        self.seconds = seconds
        self.calls = []

    def __call__(self, run):
        self.calls.append(run())
        return self.seconds[self.calls[-1]]


def test_callables_are_timed_in_turn(tool):
    clock = FakeClock(ours=0.01, peer=0.03)
    ours, peer = tool('harness').measure([lambda: 'ours', lambda: 'peer'], 0.4, clock)
    assert clock.calls == ['ours', 'peer'] * (len(clock.calls) // 2)
    assert (ours, peer) == ([0.01] * 10, [0.03] * 10)
    assert len(clock.calls) > 20  # a warm-up went before


@pytest.mark.parametrize(
    ('took', 'seconds', 'rounds'),
    [(30.0, 1.0, 3), (0.9, 1.0, 7), (0.1, 1.0, 10), (1e-6, 1.0, 200), (1e-6, 0.0, 7)],
)
def test_slow_callables_run_less_often_but_not_once(tool, took, seconds, rounds):
    (times,) = tool('harness').measure([lambda: 'ours'], seconds, FakeClock(ours=took))
    assert len(times) == rounds


def test_a_long_call_before_is_warm_up_enough(tool):
    clock = FakeClock(ours=5.0)
    tool('harness').measure([lambda: 'ours'], 1.0, clock, took=5.0)
    assert len(clock.calls) == 3


def test_medians_extremes_and_ratio(tool):
    row = tool('harness').figures([[0.002, 0.004, 0.009], [0.040, 0.030, 0.020]])
    assert [row['ours_ms'], row['ours_min'], row['ours_max']] == pytest.approx([4, 2, 9])
    assert [row['peer_ms'], row['peer_min'], row['peer_max']] == pytest.approx([30, 20, 40])
    assert row['ratio'] == pytest.approx(7.5)
    assert row['repeats'] == 3


def test_a_row_without_peer(tool):
    row = tool('harness').figures([[0.002]])
    assert row['ours_ms'] == 2
    assert row['ratio'] is row['peer_ms'] is row['peer_min'] is row['peer_max'] is None


# ---- cases, rows, exit status --------------------------------------------------------------------


def fake_cases(tool, value=1.0, allowed=None, stored=1.0):
    """One case with a peer that finds ``value`` where ours is 1, and a case without peer."""
    harness, comparisons = tool('harness'), tool('comparisons')
    compare = comparisons.identical if allowed is None else comparisons.close(allowed)
    threads = []

    def prepare(options):
        threads.append(torch.get_num_threads())
        return harness.Subject(
            lambda: torch.ones(3),
            {'other': harness.Peer(lambda: torch.full((3,), value), compare)},
            check=lambda ours: comparisons.identical(ours, torch.full((3,), stored)),
        )

    cases = [
        harness.Case('op', 'first', prepare, threads=1),
        harness.Case('op', 'second', lambda options: harness.Subject(lambda: None)),
    ]
    return cases, threads


def run_fake(tool, cases, *arguments):
    harness = tool('harness')
    line = ['--seconds', '0', '--threads', '2', *map(str, arguments)]
    return harness.main(lambda options: cases, harness.new_parser(None), line, {'gone': 'lost'})


def test_rows_json_and_table(tool, tmp_path, capsys):
    cases, threads = fake_cases(tool)
    path = tmp_path / 'rows.json'
    assert run_fake(tool, cases, '--json', path) == 0
    result = json.loads(path.read_text())
    assert set(result['machine']) == {'cpu', 'cores', 'gpu', 'os', 'versions', 'date'}
    assert result['machine']['versions']['torch'] == torch.__version__
    assert set(result['machine']['versions']) >= {'python', 'mmcv', 'opencv', 'pycocotools'}
    assert result['absent_peers'] == {'gone': 'lost'}
    first, second = result['rows']
    assert set(first) == set(second) == KEYS == set(tool('report').ROW_KEYS)
    assert (first['peer'], first['identical'], first['ok']) == ('other', True, True)
    assert first['ratio'] == pytest.approx(first['peer_ms'] / first['ours_ms'])
    assert first['ours_min'] <= first['ours_ms'] <= first['ours_max']
    assert (second['peer'], second['identical'], second['ratio']) == (None, None, None)
    assert threads == [1]
    assert (first['threads'], second['threads']) == (1, 2)
    printed = capsys.readouterr().out
    table = [line for line in printed.splitlines() if line.startswith('|')]
    assert len(table) == 4
    assert len(set(map(len, table))) == 1  # neat
    assert '- no gone: lost' in printed


@pytest.mark.parametrize(
    ('options', 'status'),
    [
        (dict(value=1.5), 1),
        (dict(value=1.001, allowed=1e-4), 1),
        (dict(value=1.001, allowed=1e-2), 0),
        (dict(value=float('nan'), allowed=1e9), 1),
        (dict(stored=2.0), 1),
        (dict(), 0),
    ],
)
def test_a_mismatch_is_said_aloud_and_exits_with_one(tool, capsys, options, status):
    cases, _ = fake_cases(tool, **options)
    assert run_fake(tool, cases) == status
    printed = capsys.readouterr()
    assert ('MISMATCH: op, first, beside other' in printed.err) == bool(status)
    assert ('**MISMATCH**' in printed.out) == bool(status)


def test_cases_are_chosen_by_name(tool, capsys):
    cases, threads = fake_cases(tool, value=2.0)
    assert run_fake(tool, cases, '--cases', 'sec*') == 0
    assert threads == []  # the others are not even prepared
    with pytest.raises(SystemExit) as exit_info:
        run_fake(tool, cases, '--cases', 'third')
    assert exit_info.value.code == 2
    assert "no case fits 'third'" in capsys.readouterr().err


@pytest.mark.parametrize('value', ['0', '-1', 'two'])
def test_a_wrong_number_of_threads_is_refused(tool, capsys, value):
    with pytest.raises(SystemExit) as exit_info:
        run_fake(tool, fake_cases(tool)[0], '--threads', value)
    assert exit_info.value.code == 2
    assert 'whole number above 0' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('value', 'text'),
    [(0, '0'), (1234.5, '1234'), (12.34, '12.3'), (0.01234, '0.0123'), (9.999, '10.00')],
)
def test_numbers_have_three_digits(tool, value, text):
    assert tool('report').significant(value, 3) == text


# ---- comparisons ---------------------------------------------------------------------------------


def test_rle_are_compared_as_text(tool):
    same_rle = tool('comparisons').same_rle
    ours = [dict(size=[3, 4], counts='abc'), dict(size=[3, 4], counts='d')]
    theirs = [dict(size=(3, 4), counts=b'abc'), dict(size=[3, 4], counts=b'd')]
    assert same_rle(ours, theirs).identical
    theirs[1]['counts'] = b'e'
    found = same_rle(ours, theirs)
    assert (found.identical, found.ok, found.note) == (False, False, '1 of 2 strings differ')
    assert not same_rle(ours, theirs[:1]).ok
    assert not same_rle(ours[:1], [dict(size=[4, 3], counts='abc')]).ok


def test_the_worst_of_several_tensors_counts(tool):
    close = tool('comparisons').close(0.1)
    base = [torch.tensor([1.0, -4.0]), torch.tensor([100.0])]
    found = close([base[0] + 0.2, base[1]], base)
    assert found.max_error == pytest.approx(0.05)
    assert found.ok
    assert not close([base[0] + 0.5, base[1]], base).ok
    assert not close([base[1], base[0]], base).ok
    assert close(base, base).identical


def test_only_differences_at_a_border_are_allowed(tool):
    compare = tool('polar_rays').compare_binned
    # 340 degrees but for rounding, and 30.96 degrees; nothing else
    contour = torch.tensor([[-99.0, 272.0], [60.0, 100.0]])
    inputs = tool('pictures').RayInputs(
        contour, torch.tensor([0, 2]), torch.zeros(1, 2), torch.tensor([0])
    )
    ours = polar_ray_targets(*inputs.arguments(), 36)
    assert compare(inputs, ours, ours).identical
    for ray, ok in ((34, True), (33, False), (3, False), (12, False)):
        theirs = ours.clone()
        theirs[0, ray] += 5
        found = compare(inputs, ours, theirs)
        assert (found.identical, found.ok, found.max_error) == (False, ok, 5), ray
        assert '1 of 36 rays differ' in found.note
    unit = torch.nextafter(ours, torch.tensor(1e9))
    assert compare(inputs, ours, torch.where(torch.arange(36) == 3, unit, ours)).ok


@pytest.mark.parametrize(
    ('on_cpu', 'units', 'ok'), [(True, 1, False), (False, 1, True), (False, 2, False)]
)
def test_only_on_a_gpu_lengths_may_be_a_unit_off(tool, on_cpu, units, ok):
    compare = tool('polar_rays').compare_with_stored
    stored = [torch.full((2, 36), 9.0).sqrt(), torch.full((1, 36), 1e-6)]
    other = [stored[0] + units * 2.0**-22, stored[1]]
    found = compare(stored, on_cpu, other)
    assert (found.identical, found.ok) == (False, ok)
    assert '1 of 2 pictures identical' in found.note
    assert compare(stored, on_cpu, stored).identical
    assert not compare(stored, on_cpu, stored[:1]).ok
    assert not compare(stored, on_cpu, [stored[0][:1], stored[1]]).ok


@pytest.mark.parametrize(('units', 'ok'), [(1, True), (2, False)])
def test_lengths_of_another_processor_s_root(tool, units, ok):
    here = torch.full((2, 36), 9.0).sqrt()
    found = tool('polar_rays').compare_with_stored([here + units * 2.0**-22], True, [here])
    assert (found.identical, found.ok) == (False, ok)
    assert "1 identical with torch's root here" in found.note


# ---- peers ---------------------------------------------------------------------------------------


def ray_batch(tool, count=5):
    """The positives of a small synthetic picture."""
    options = argparse.Namespace(quick=True, device='cpu')
    inputs = tool('polar_rays').synthetic_inputs(count, options)
    assert len(inputs.locations) > 3 * count
    assert len(inputs.instance_index.unique()) > 1
    return inputs.arguments()


# numbers for which no ray looks at degree 44 or 45: the peers' arc tangent is torch's, which has a
# tensor's last few elements on the diagonal on the other side of 45 degrees
@pytest.mark.parametrize('num_rays', [4, 12, 36])
@pytest.mark.parametrize('peer', ['loop_binned', 'vectorised_binned'])
def test_binned_peers_equal_the_operator(tool, peer, num_rays):
    batch = ray_batch(tool)
    theirs = getattr(tool('peers.polar_rays'), peer)(*batch, num_rays)
    ours = polar_ray_targets(*batch, num_rays)
    assert (ours > 1e-6).any(dim=1).all()
    torch.testing.assert_close(theirs, ours, rtol=0, atol=0)


@pytest.mark.parametrize('num_rays', [1, 7, 36])
def test_exact_peer_equals_the_operator(tool, num_rays):
    contours, *rest = ray_batch(tool)
    peer = tool('peers.polar_rays').vectorised_exact
    for points in (contours, contours + torch.rand(contours.shape) * 0.01):
        ours = polar_ray_targets(points, *rest, num_rays, 'exact')
        torch.testing.assert_close(peer(points, *rest, num_rays), ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('peer', ['loop_binned', 'vectorised_binned', 'vectorised_exact'])
def test_peers_take_empty_inputs(tool, peer):
    function = getattr(tool('peers.polar_rays'), peer)
    none = torch.zeros(0, dtype=torch.int64)
    no_points, no_locations = torch.zeros(0, 2), torch.zeros(0, 2)
    assert function(no_points, torch.tensor([0]), no_locations, none, 36).shape == (0, 36)
    start = torch.zeros(1, dtype=torch.int64)
    rays = function(no_points, torch.tensor([0, 0]), torch.zeros(1, 2), start, 36)
    assert torch.equal(rays, torch.full((1, 36), 1e-6))


def test_synthetic_pictures_are_of_mixed_sizes(tool):
    sample = tool('pictures').synthetic_masks(60, 400, 640)
    areas = np.sort(sample['gt_masks'].areas)
    assert areas[0] > 0
    assert areas[15] < 32**2 < 96**2 < areas[-10]
    boxes = sample['gt_bboxes'].tensor
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    again = tool('pictures').synthetic_masks(60, 400, 640)
    assert np.array_equal(again['gt_masks'].masks, sample['gt_masks'].masks)


def test_a_folder_without_stored_targets_is_named(tool, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_info:
        tool('polar_rays').run(['--quick', '--golden-dir', str(tmp_path), '--cases', '*published*'])
    assert exit_info.value.code == 2
    assert 'polarmask_targets.json' in capsys.readouterr().err


def test_stored_targets_are_met_and_a_change_is_noticed(tool, default_golden_dir, tmp_path, capsys):
    if not (default_golden_dir / 'polarmask_targets.json').is_file():
        pytest.skip(f'no stored targets in {default_golden_dir}')
    content = json.loads((default_golden_dir / 'polarmask_targets.json').read_text())
    content['entries'] = content['entries'][:3]
    (tmp_path / 'polarmask_targets.json').write_text(json.dumps(content))
    with np.load(default_golden_dir / 'polarmask_targets.npz') as stored:
        arrays = dict(stored)
    line = ['--quick', '--golden-dir', str(tmp_path), '--cases', '*published*']
    for change, status, accepted in ((0, 0, '3'), (1e-3, 1, '2')):
        arrays['pos_dist'][0, 0] += change
        np.savez(tmp_path / 'polarmask_targets.npz', **arrays)
        assert tool('polar_rays').run(line) == status
        # the second number stands there only if torch's root is another one on this processor
        said = re.search(r'(.) of 3 pictures identical(?:, (.) within)?', capsys.readouterr().out)
        assert (said[2] or said[1]) == accepted


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_half_types_need_cuda(tool, capsys, dtype):
    with pytest.raises(SystemExit) as exit_info:
        tool('deform_conv2d').run(['--quick', '--dtype', dtype])
    assert exit_info.value.code == 2
    assert 'needs --device cuda' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('version', 'rule'),
    [
        ('4.5.1', 'fill'),
        ('4.8.0', 'fill-4.8'),
        ('4.10.0.84', 'fill-4.8'),
        ('4.11.0', 'fill'),
        ('5.0.0', 'fill'),
    ],
)
def test_polygons_are_filled_by_the_rule_of_the_installed_opencv(tool, version, rule):
    assert tool('rle').opencv_rule(version) == rule


# ---- scripts -------------------------------------------------------------------------------------


def call(name, *arguments):
    return subprocess.run(
        [sys.executable, str(FOLDER / f'{name}.py'), *map(str, arguments)],
        env=environment(OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope='module')
def everything(tmp_path_factory):
    """(JSON, Markdown, terminal) of run_all.py, which runs every script as a process."""
    folder = tmp_path_factory.mktemp('benchmarks')
    files = folder / 'rows.json', folder / 'tables.md'
    done = call('run_all', '--quick', '--threads', 1, '--json', files[0], '--markdown', files[1])
    assert done.returncode == 0, done.stderr
    return json.loads(files[0].read_text()), files[1].read_text(), done.stdout


@pytest.mark.parametrize('name', SCRIPTS)
def test_every_script_writes_rows(everything, name):
    rows = [row for row in everything[0]['rows'] if row['operator'] in SCRIPTS[name]]
    assert {row['operator'] for row in rows} == SCRIPTS[name]
    for row in rows:
        assert set(row) == KEYS
        assert row['ok']
        assert 0 < row['ours_min'] <= row['ours_ms'] <= row['ours_max']
        assert (row['threads'], row['device'], row['dtype']) == (1, 'cpu', 'float32')
        if row['peer'] is not None:
            assert row['ratio'] == pytest.approx(row['peer_ms'] / row['ours_ms'])
    compared = [row for row in rows if row['identical'] is not None]
    assert len({row['case'] for row in compared}) >= 4


def test_markdown_has_a_table_for_each_operator(everything):
    result, markdown, printed = everything
    assert markdown.startswith('- CPU: ')
    operators = set().union(*SCRIPTS.values())
    assert {line[4:] for line in markdown.splitlines() if line.startswith('### ')} == operators
    lines = [line for line in markdown.splitlines() if line.startswith('| ')]
    assert len(lines) == len(result['rows']) + 2 * len(operators)
    assert markdown in printed


def test_a_script_that_breaks_off_is_noticed(tool, monkeypatch, capsys):
    run_all = tool('run_all')
    monkeypatch.setattr(run_all, 'SCRIPTS', ('absent',))
    assert run_all.run(['--quick', '--scripts', 'absent']) == 2
    assert 'absent.py broke off with exit status 2' in capsys.readouterr().err


def test_a_mismatch_in_a_script_exits_with_one(tool, monkeypatch, capsys):
    run_all = tool('run_all')
    row = dict.fromkeys(KEYS) | dict(operator='op', case='c', peer='p', ok=False, note='differs')
    row |= dict(threads=1, device='cpu', dtype='float32', repeats=3)
    found = dict(machine=tool('machine').describe(), absent_peers={}, rows=[row])
    monkeypatch.setattr(run_all, 'run_script', lambda name, options: found)
    assert run_all.run(['--scripts', 'rle']) == 1
    assert 'MISMATCH: op, c, beside p: differs' in capsys.readouterr().err
