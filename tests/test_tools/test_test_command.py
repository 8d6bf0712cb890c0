import json
import pickle
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from pycocotools import mask as coco_mask
from test_train_command import load_tool
from tiny_detector import ROOT, forget_runs, run, write_project

from polarseg.apis import DumpPredictions, prepare_config, resolve_checkpoint
from polarseg.registry import MODELS


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """Folder with tiny.py and run/epoch_3.pth (random weights)."""
    folder = tmp_path_factory.mktemp('test')
    cfg = prepare_config(write_project(folder), cfg_options={'norm.type': 'BN'})
    for part in (cfg.model.backbone, cfg.model.mask_head.mask_feature_head):
        part.norm_cfg = dict(type='BN')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    (folder / 'run').mkdir()
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, folder / 'run/epoch_3.pth')
    return folder


def check_dump(path):
    predictions = pickle.loads(path.read_bytes())
    assert [item['img_id'] for item in predictions] == [1, 2, 3, 4, 5, 6]
    for item in predictions:
        instances = item['pred_instances']
        assert len(instances['scores']) == len(instances['masks']) == len(instances['bboxes']) == 5
        assert coco_mask.decode(instances['masks'][0]).shape == (64, 96)
        assert 'gt_instances' not in item
    return predictions


@pytest.fixture
def test_tool(monkeypatch, project):
    """Run tools/test.py in this process, in the project's folder; returns the metrics."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.chdir(project)
    tool = load_tool('test')
    original, results = tool.run_test, []
    monkeypatch.setattr(tool, 'run_test', lambda *args: results.append(original(*args)))

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['test.py', 'tiny.py', *map(str, arguments)])
        forget_runs()
        tool.main()
        return results[-1]

    return call


def test_dist_test_equals_one_process(project, test_tool, tmp_path):
    # The PolarMask paper's line; two processes share the six pictures.
    out = tmp_path / 'res.pkl'
    line = ['tiny.py', 'run/latest.pth', '2', '--out', out, '--eval', 'segm']
    output = run(['sh', ROOT / 'tools/dist_test.sh', *line], cwd=project)
    assert 'run/epoch_3.pth' in output
    assert 'coco/segm_mAP' in output
    assert 'coco/bbox_mAP' not in output
    together = check_dump(out)
    alone_file = tmp_path / 'sub/alone.pickle'
    metrics = test_tool(
        'run/epoch_3.pth', '--out', alone_file, '--eval', 'bbox', 'segm', '--work_dir', tmp_path
    )
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= metrics.keys()
    for ours, theirs in zip(together, check_dump(alone_file)):
        torch.testing.assert_close(
            ours['pred_instances']['scores'],
            theirs['pred_instances']['scores'].cpu(),
            rtol=1e-4,
            atol=1e-5,
        )


def test_format_only_writes_json(test_tool, tmp_path):
    prefix = tmp_path / 'new/result'
    options = ['--format-only', '--json_out', f'{prefix}.json', '--work-dir', tmp_path / 'w']
    assert test_tool('run/latest.pth', *options, '--eval', 'bbox', 'segm') == {}
    boxes = json.loads((tmp_path / 'new/result.bbox.json').read_text())
    masks = json.loads((tmp_path / 'new/result.segm.json').read_text())
    assert len(boxes) == len(masks) == 30
    assert {item['image_id'] for item in masks} == {1, 2, 3, 4, 5, 6}


def test_show_dir_and_data_root(test_tool, project, tmp_path):
    (tmp_path / 'moved').symlink_to(project / 'data')
    test_tool(
        *('run', '--show-dir', 'drawn', '--work-dir', tmp_path),
        *('--cfg-options', f'data_root={tmp_path}/moved/'),
    )
    assert len(list(tmp_path.glob('*/drawn/*.png'))) == 6
    recorded = Config.fromfile(tmp_path / 'tiny.py')
    assert recorded.test_evaluator.ann_file == f'{tmp_path}/moved/annotations.json'
    assert recorded.test_dataloader.dataset.data_root == f'{tmp_path}/moved/'


def test_weights_of_another_model_are_refused(test_tool, tmp_path):
    torch.save({'state_dict': {'other.weight': torch.ones(1)}}, tmp_path / 'other.pth')
    with pytest.raises(SystemExit, match=r'other\.pth: none of its 1 tensors.*CondInst'):
        test_tool(tmp_path / 'other.pth', '--work-dir', tmp_path)


def test_missing_checkpoint_and_wrong_out(test_tool, tmp_path):
    with pytest.raises(SystemExit, match=f'in the folder {tmp_path}'):
        test_tool(tmp_path / 'latest.pth', '--work-dir', tmp_path)
    with pytest.raises(ValueError, match=r'--out must end in \.pkl'):
        test_tool('run/latest.pth', '--out', 'res.json', '--work-dir', tmp_path)


def test_launcher_without_torchrun_says_what_to_do(test_tool, monkeypatch, tmp_path):
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit, match=r'use tools/dist_train\.sh'):
        test_tool('run/latest.pth', '--launcher', 'pytorch', '--work-dir', tmp_path)


class _Polygons:
    def to_rle(self):
        return [{'size': [2, 2], 'counts': b'04'}]


@pytest.mark.parametrize(
    'masks',
    [
        torch.ones(1, 2, 2, dtype=torch.bool),
        _Polygons(),
        [{'size': [2, 2], 'counts': b'04'}],
    ],
    ids=['tensor', 'polygons', 'rle'],
)
def test_every_form_of_masks_is_dumped_as_rle(tmp_path, masks):
    dump = DumpPredictions(str(tmp_path / 'out.pkl'))
    sample = {
        'img_id': 3,
        'gt_instances': {'bboxes': torch.zeros(1, 4)},
        'pred_instances': {'scores': torch.ones(1), 'masks': masks},
    }
    dump.process({}, [sample, {'img_id': 4}])
    dump.evaluate(2)
    first, second = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    assert second == {'img_id': 4}
    assert 'gt_instances' not in first
    assert sample['pred_instances']['masks'] is masks or torch.is_tensor(masks)
    np.testing.assert_array_equal(
        coco_mask.decode(first['pred_instances']['masks'][0]), np.ones((2, 2))
    )


def test_resolved_checkpoint_is_the_trained_one(project):
    assert resolve_checkpoint(project / 'run/latest.pth') == str(project / 'run/epoch_3.pth')
