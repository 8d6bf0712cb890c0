"""BlendMask's FCOS: targets, IoU, losses with every option, and decoding against the published."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from polarseg.models.losses import distance_iou, fcos_iou_loss
from polarseg.models.task_modules import box_centerness
from polarseg.registry import MODELS

pytestmark = pytest.mark.golden('blendmask_units')

NAMES = {
    'loss_fcos_cls': 'loss_cls',
    'loss_fcos_loc': 'loss_bbox',
    'loss_fcos_ctr': 'loss_centerness',
    'loss_fcos_iou': 'loss_iou',
}
RESULTS = {
    'default': {},
    'moving_fg': dict(cls_normalizer='moving_fg'),
    'all': dict(cls_normalizer='all'),
    'iou_quality': dict(box_quality='iou'),
    'iou_loss': dict(loss_bbox=dict(type='FCOSIoULoss', mode='iou')),
    'linear_iou_loss': dict(loss_bbox=dict(type='FCOSIoULoss', mode='linear_iou')),
}
ASSIGNMENTS = {
    'targets': dict(),
    'targets_nocenter': dict(sampling_center=None),
    'targets_rt': dict(regress_ranges=[(-1, 64), (64, 128), (128, 1e8)]),
}


@pytest.fixture
def arrays(case):
    return {name: torch.from_numpy(array) for name, array in case['arrays'].items()}


def build_head(given, **options):
    return MODELS.build(
        dict(
            type='FCOSHead',
            num_classes=given['num_classes'],
            in_channels=32,
            feat_channels=32,
            strides=given['strides'],
            assigner=dict(
                regress_ranges=given['sizes_of_interest'],
                radius=given['center_sampling_radius'],
            ),
        )
        | options
    )


def instances(given):
    return [
        InstanceData(
            bboxes=torch.tensor(picture['boxes'], dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor(picture['labels'], dtype=torch.long),
        )
        for picture in given['gt']
    ]


def levels(arrays, kind):
    return [arrays[f'losses_{kind}_{level}'] for level in range(3)]


@pytest.mark.parametrize('name', ASSIGNMENTS)
def test_targets(case, arrays, name):
    given = case['units']['targets']['params']
    assigner = dict(regress_ranges=given['sizes_of_interest']) | ASSIGNMENTS[name]
    count = len(assigner['regress_ranges'])
    head = build_head(given, strides=given['strides'][:count], assigner=assigner)
    targets = head.get_targets(given['sizes'][:count], instances(given))
    expected = arrays[f'{name}_labels']
    assert targets.labels.tolist() == expected.flatten().tolist()
    index = torch.full((expected.numel(),), -1)
    index[targets.positive] = targets.gt_index
    assert index.tolist() == arrays[f'{name}_gt_inds'].flatten().tolist()
    if f'{name}_reg' in arrays:
        in_strides = targets.distances / targets.strides[:, None]
        torch.testing.assert_close(in_strides, arrays[f'{name}_reg'])
        torch.testing.assert_close(box_centerness(targets.distances), arrays[f'{name}_ctr'])


def test_locations(case, arrays):
    head = build_head(case['units']['targets']['params'], strides=[16])
    (points,) = head.locations([(4, 5)], 'cpu')
    assert torch.equal(points, arrays['targets_locations_p4'])


def test_iou(arrays):
    pred, target = arrays['iou_pred'], arrays['iou_target']
    torch.testing.assert_close(distance_iou(pred, target), arrays['iou_iou'])
    giou = 1 - fcos_iou_loss(pred, target, reduction='none', mode='giou')
    torch.testing.assert_close(giou, arrays['iou_giou'])
    torch.testing.assert_close(box_centerness(target), arrays['iou_ctr'])


@pytest.mark.parametrize('name', RESULTS)
def test_losses(case, arrays, name):
    given = case['units']['losses']['params']
    head = build_head(given, **RESULTS[name]).train()
    maps = [levels(arrays, kind) for kind in ('cls', 'reg', 'ctr')]
    found = head.loss_by_feat(*maps, instances(given), [{}, {}])
    expected = dict(given['results'][name])
    # of the blender, compared with the other modules
    expected.pop('loss_mask', None)
    assert set(found) == {NAMES[key] for key in expected}
    for key, value in expected.items():
        assert found[NAMES[key]].item() == pytest.approx(value, rel=1e-5), key


@pytest.mark.parametrize('name', ['a', 'b', 'c'])
def test_decoding(case, arrays, name):
    given = case['units']['losses']['params']
    decode = case['units']['decode']['params']
    variant = decode['variants'][name]
    head = build_head(given)
    cls_scores = [level + 1.0 for level in levels(arrays, 'cls')]
    cfg = dict(
        nms_pre=variant['pre_nms_topk_per_level'],
        score_thr=variant['score_threshold'],
        thresh_with_ctr=variant['threshold_includes_centerness'],
        sqrt_scores=True,
        nms=dict(type='nms', iou_threshold=decode['nms_iou']),
        max_per_img=variant['post_nms_topk'],
        keep_ties=True,
    )
    maps = cls_scores, levels(arrays, 'reg'), levels(arrays, 'ctr')
    results = head.predict_by_feat(*maps, [dict(img_shape=decode['image'])] * 2, cfg=cfg)
    assert [len(found) for found in results] == variant['detections']
    for picture, found in enumerate(results):
        expected = arrays[f'decode_{name}_{picture}'].numpy()
        torch.testing.assert_close(
            found.scores, torch.from_numpy(expected[:, 4]), rtol=1e-5, atol=1e-6
        )
        # by class and box, as equal scores may stand in another order
        rows = np.column_stack([found.labels.numpy(), found.bboxes.numpy()])
        wanted = np.column_stack([expected[:, 5], expected[:, :4]])
        for row in wanted:
            assert np.abs(rows - row).max(axis=1).min() <= 1e-3
