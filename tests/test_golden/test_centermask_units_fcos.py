"""FCOS' targets and box losses against the published ones of both flavours."""

import pytest
import torch
from mmengine.structures import InstanceData

from polarseg.models.losses import fcos_iou_loss
from polarseg.models.task_modules import box_centerness
from polarseg.registry import MODELS

pytestmark = pytest.mark.golden('centermask_units')

SIZES = [(16, 20), (8, 10), (4, 5), (2, 3), (1, 2)]
FLAVOURS = {'original': dict(inclusive_boxes=True), 'CenterMask2': dict()}


@pytest.fixture
def arrays(case):
    return {name: torch.from_numpy(array) for name, array in case['arrays'].items()}


@pytest.mark.parametrize('flavour', FLAVOURS)
@pytest.mark.parametrize('sampling', ['center', 'inside'])
def test_targets(arrays, sampling, flavour):
    head = MODELS.build(
        dict(type='FCOSHead', num_classes=5, in_channels=32, feat_channels=32)
        | dict(assigner=dict(sampling_center='box' if sampling == 'center' else None))
        | FLAVOURS[flavour]
    )
    truth = InstanceData(bboxes=arrays['fcos_gt_boxes'], labels=arrays['fcos_gt_labels'].long())
    targets = head.get_targets(SIZES, [truth])
    assert targets.labels.tolist() == arrays[f'fcos_labels_{sampling}'].tolist()
    in_strides = targets.distances / targets.strides[:, None]
    torch.testing.assert_close(in_strides, arrays[f'fcos_reg_{sampling}'].float())
    torch.testing.assert_close(
        box_centerness(targets.distances), arrays[f'fcos_ctr_{sampling}'].float()
    )


@pytest.mark.parametrize(('number', 'mode'), [(0, 'iou'), (1, 'linear_iou'), (2, 'giou')])
def test_box_losses(arrays, number, mode):
    pred, target, weight = (arrays[f'iou_{name}'] for name in ('pred', 'target', 'weight'))
    total = fcos_iou_loss(pred, target, weight, reduction='sum', mode=mode)
    torch.testing.assert_close(total, arrays['iou_losses_d2'][number].float(), rtol=1e-5, atol=0)
    mean = fcos_iou_loss(pred, target, weight, avg_factor=weight.sum(), mode=mode, eps=1e-7)
    torch.testing.assert_close(mean, arrays['iou_losses_legacy'][number].float(), rtol=1e-5, atol=0)
