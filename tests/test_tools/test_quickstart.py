"""tools/quickstart.py in small: what it promises is there, and a second run replaces the first."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from pycocotools.coco import COCO
from tiny_detector import ROOT, environment

from polarseg.apis import InstanceInferencer, find_newest_checkpoint, load_checkpoint_file

TOOL = ROOT / 'tools/quickstart.py'


def quickstart(work_dir, *arguments):
    line = [TOOL, '--work-dir', work_dir, '--train', 8, '--epochs', 1, *arguments]
    return subprocess.run(
        [sys.executable, *map(str, line)],
        env=environment(OMP_NUM_THREADS='1', POLARSEG_INSTALL_SECONDS='7'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """(folder, output of the second run): the first had another number of pictures."""
    work_dir = tmp_path_factory.mktemp('quickstart') / 'run'
    first = quickstart(work_dir, '--val', 5)
    assert first.returncode == 0, first.stdout
    assert len(list((work_dir / 'data/val').glob('*.png'))) == 5
    (work_dir / 'pictures/left_over.png').touch()
    second = quickstart(work_dir, '--val', 4)
    assert second.returncode == 0, second.stdout
    return work_dir, second.stdout


@pytest.fixture(scope='module')
def summary(runs):
    return json.loads((runs[0] / 'summary.json').read_text())


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('quickstart', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_summary(runs, summary):
    # nothing is learned from eight pictures in one epoch
    assert 0 <= summary['segm_AP'] < 0.5
    assert 0 <= summary['bbox_AP'] < 0.5
    assert summary['seconds'].keys() == {'install', 'data', 'train', 'evaluate', 'draw'}
    assert summary['seconds']['install'] == 7
    assert all(seconds >= 0 for seconds in summary['seconds'].values())
    assert summary['seconds']['train'] > 0
    assert summary['device'] == 'cpu'
    assert summary['threads'] == 1
    assert summary['paths'].keys() == {
        'checkpoint', 'pictures', 'training_curve', 'data', 'log',
    }  # fmt: skip
    for path in summary['paths'].values():
        assert (ROOT / path).exists(), path
        assert runs[0] in (ROOT / path).parents


def test_output_names_results_and_commands(runs, summary):
    output = runs[1]
    assert f'segm AP {summary["segm_AP"]:.3f} on 4 held-out pictures' in output
    for path in summary['paths'].values():
        assert path in output
    steps = [line for line in output.splitlines() if line.startswith('==> ')]
    for command in ('make_shapes.py', 'train.py', 'test.py', 'image_demo.py'):
        (line,) = [line for line in steps if command in line]
        assert str(runs[0]) in line
        assert (ROOT / line.split('python ')[1].split()[0]).is_file()
    assert 'train_cfg.max_epochs=1 ' in steps[1]


def test_second_run_replaces_the_first(runs):
    work_dir = runs[0]
    assert len(list((work_dir / 'data/train').glob('*.png'))) == 8
    assert len(list((work_dir / 'data/val').glob('*.png'))) == 4
    assert not (work_dir / 'pictures/left_over.png').exists()


def test_training_was_as_asked(runs, summary):
    cfg = Config.fromfile(runs[0] / 'polarmask_r18_shapes.py')
    assert cfg.train_cfg.max_epochs == 1
    assert cfg.param_scheduler[1].end == 1
    checkpoint = load_checkpoint_file(ROOT / summary['paths']['checkpoint'])
    assert checkpoint['meta']['epoch'] == 1
    assert find_newest_checkpoint(runs[0]) == str(ROOT / summary['paths']['checkpoint'])


def test_checkpoint_predicts(runs):
    config = ROOT / 'configs/shapes/polarmask_r18_shapes.py'
    options = {'model.test_cfg.score_thr': 0.0}
    inferencer = InstanceInferencer(config, runs[0] / 'latest.pth', 'cpu', options)
    pictures = sorted((runs[0] / 'data/val').glob('*.png'))
    assert all(len(prediction.instances) for prediction in inferencer(pictures))


def test_pictures_and_curve(runs, summary):
    sheet = cv2.imread(str(ROOT / summary['paths']['pictures']))
    # four pairs of 2 x 256 in rows of three, 4 pixels of white around each
    assert sheet.shape == (2 * 264, 3 * 520, 3)
    assert (sheet[264:, 520:] == 255).all()
    for row, column in ((0, 0), (0, 1), (0, 2), (1, 0)):
        pair = sheet[264 * row :, 520 * column :][4:260, 4:516]
        assert pair.std() > 5
        assert (pair[:, :256] == 255).all(axis=2).any()  # annotated outlines
    curve = cv2.imread(str(ROOT / summary['paths']['training_curve']))
    assert curve.shape[0] > 300
    # the four losses are drawn in colour
    colourful = np.ptp(curve.astype(int), axis=2) > 80
    assert colourful.sum() > 100


def test_sheet_of_fewer_than_three(tool, runs, tmp_path):
    config = ROOT / 'configs/shapes/polarmask_r18_shapes.py'
    inferencer = InstanceInferencer(config, runs[0] / 'latest.pth', 'cpu')
    annotations = COCO(str(runs[0] / 'data/annotations/instances_val.json'))
    pictures = sorted((runs[0] / 'data/val').glob('*.png'))[:2]
    tool.draw_comparison(inferencer, pictures, annotations, tmp_path / 'two.png')
    assert cv2.imread(str(tmp_path / 'two.png')).shape == (264, 2 * 520, 3)


def test_curve_with_and_without_ap(tool, tmp_path):
    """mmengine logs no AP for a model that has found nothing."""
    losses = dict(loss=4.0, loss_cls=1.0, loss_bbox=1.0, loss_mask=1.0, loss_centerness=1.0)
    lines = [
        dict(losses, epoch=1, step=10, loss_cls=2.0),
        dict(losses, epoch=2, step=20),
    ]
    curves = []
    for name, more in (('without', []), ('with', [{'coco/segm_mAP': 0.4, 'step': 2}])):
        scalars = tmp_path / f'{name}.json'
        scalars.write_text('\n'.join(json.dumps(line) for line in lines + more))
        tool.draw_curve(scalars, tmp_path / f'{name}.png')
        curves.append(cv2.imread(str(tmp_path / f'{name}.png')))
    without, with_ap = curves
    assert without.shape == with_ap.shape
    assert (without != with_ap).any()


def test_folders_of_others_are_not_deleted(tool, monkeypatch, tmp_path):
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / 'thesis.txt').write_text('years of work')
    monkeypatch.setattr(sys, 'argv', ['quickstart.py', '--work-dir', str(mine)])
    with pytest.raises(SystemExit, match=f'error: {mine} holds files of others'):
        tool.main()
    assert (mine / 'thesis.txt').read_text() == 'years of work'
    assert [path.name for path in mine.iterdir()] == ['thesis.txt']


def test_which_folders_are_taken(tool, tmp_path):
    for name in ('new/below', 'empty'):
        if name == 'empty':
            (tmp_path / name).mkdir()
        tool.start_afresh(tmp_path / name)
        (tmp_path / name / 'result').touch()
        tool.start_afresh(tmp_path / name)
        assert [path.name for path in (tmp_path / name).iterdir()] == [tool.MARKER]
    file = Path(tmp_path / 'file')
    file.touch()
    with pytest.raises(FileExistsError, match='holds files of others'):
        tool.start_afresh(file)


@pytest.mark.parametrize('option', ['--train', '--val', '--epochs'])
def test_numbers_must_be_positive(tool, monkeypatch, capsys, option):
    monkeypatch.setattr(sys, 'argv', ['quickstart.py', option, '0'])
    with pytest.raises(SystemExit, match='2'):
        tool.parse_args()
    assert 'must be at least 1, got 0' in capsys.readouterr().err
