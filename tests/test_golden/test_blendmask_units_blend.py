"""BlendMask's bases, blending, mask loss and final masks against the published ones."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData, PixelData

from polarseg.models import Blender, ProtoNet
from polarseg.models.mask_heads import place_box_masks
from polarseg.models.task_modules import box_centerness
from polarseg.registry import MODELS
from polarseg.structures import crop_masks

pytestmark = pytest.mark.golden('blendmask_units')

BLENDS = {
    'blend': dict(),
    'blend_small': dict(num_bases=3, attention_size=7, resolution=28, top_interp='nearest'),
}


@pytest.fixture
def arrays(case):
    return {name: torch.from_numpy(array) for name, array in case['arrays'].items()}


@pytest.fixture
def params(case):
    """Of a unit, by its name."""
    return lambda unit: case['units'][unit]['params']


@pytest.fixture
def rois(arrays):
    return bbox2roi([arrays['blend_boxes_0'], arrays['blend_boxes_1']])


def polygon_masks(instances, size):
    parts = [[np.array(part) for part in parts] for parts in instances]
    return PolygonMasks(parts, *size)


def test_pooled_bases(arrays, rois):
    pooled = Blender().pool(arrays['blend_bases'], rois)
    assert pooled.shape == (5, 4, 56, 56)
    torch.testing.assert_close(pooled[:, :, ::2, ::2], arrays['blend_rois'], rtol=0, atol=1e-6)
    assert (arrays['blend_rois'] == 0).any()  # a box that leaves the map


@pytest.mark.parametrize('unit', BLENDS)
def test_blending(arrays, params, rois, unit):
    blender = Blender(**BLENDS[unit])
    wanted = params(unit)
    assert blender.num_bases == wanted['K']
    assert blender.attention_size == wanted['M']
    assert blender.resolution == wanted['R']
    bases = arrays['blend_bases'][:, : wanted['K']]
    logits = blender(bases, arrays[f'{unit}_attn'], rois)
    torch.testing.assert_close(logits.flatten(1), arrays[f'{unit}_logits'], rtol=0, atol=1e-5)


def test_targets_of_polygons(arrays, params):
    given = params('crop_resize')
    masks = polygon_masks(given['polygons'], given['image'])
    crops = crop_masks(masks, torch.arange(3), torch.tensor(given['boxes']), 56)
    np.testing.assert_array_equal(crops, arrays['crop_polygon'].bool())


def test_targets_of_bitmaps(arrays, params):
    given = params('crop_resize')
    masks = BitmapMasks(arrays['crop_bitmap_source'].numpy(), *given['image'])
    crops = crop_masks(masks, torch.arange(3), torch.tensor(given['boxes']), 56)
    np.testing.assert_array_equal(crops, arrays['crop_bitmap'].bool())


def test_thing_semantic_labels_are_reduced_by_8(arrays):
    sample = DetDataSample()
    sample.gt_sem_seg = PixelData(sem_seg=arrays['basis_semantic_mask'][None, :56])
    expected = arrays['basis_semantic_down8']
    labels = ProtoNet()._labels([sample], expected.shape)
    assert labels.dtype == torch.int64
    np.testing.assert_array_equal(labels[0], expected)


def test_mask_loss(arrays, params, recipe):
    given = params('losses')
    gt = [
        InstanceData(
            bboxes=torch.tensor(picture['boxes']),
            labels=torch.tensor(picture['labels']),
            masks=polygon_masks(picture['polys'], given['image']),
        )
        for picture in given['gt']
    ]
    head = MODELS.build(
        dict(
            type='FCOSHead',
            num_classes=given['num_classes'],
            in_channels=32,
            feat_channels=32,
            strides=given['strides'],
            assigner=dict(regress_ranges=given['sizes_of_interest']),
        )
    )
    sizes = [tuple(arrays[f'losses_cls_{level}'].shape[2:]) for level in range(3)]
    targets = head.get_targets(sizes, gt)
    assert len(targets.positive) == given['results']['positives']
    weights = box_centerness(targets.distances)
    assert weights.sum().item() == pytest.approx(given['results']['sum_ctrness'], rel=1e-6)
    maps = [
        torch.from_numpy(
            recipe.make_array(f'units.attention.{level}', (2, 784, *sizes[level]), (0.0, 1.0))
        )
        for level in range(3)
    ]
    attentions = torch.cat([own.flatten(2).mT for own in maps], dim=1).flatten(0, 1)
    args = targets.gt_index, weights, weights.sum(), gt
    loss = Blender().loss(arrays['losses_bases'], attentions[targets.positive], *args)
    expected = given['results']['default']['loss_mask']
    assert loss['loss_mask'].item() == pytest.approx(expected, rel=1e-5)


def test_final_masks(arrays, params):
    given = params('paste')
    (height, width), (out_height, out_width) = given['network_size'], given['output_size']
    found = InstanceData(
        bboxes=torch.tensor(given['boxes']), scores=torch.ones(5), labels=torch.arange(5)
    )
    meta = dict(
        img_shape=(height, width),
        ori_shape=(out_height, out_width),
        scale_factor=(width / out_width, height / out_height),
    )
    placed = place_box_masks(found, arrays['paste_probs'], meta, rescale=True)
    assert placed.labels.tolist() == arrays['paste_classes'].tolist()
    torch.testing.assert_close(placed.bboxes, arrays['paste_boxes'])
    np.testing.assert_array_equal(placed.masks.to_ndarray(), arrays['paste_masks'])
