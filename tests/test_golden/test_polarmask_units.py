"""Single functions against the published ones."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import distance2bbox
from stored_lengths import assert_published_lengths

from polarseg.models.losses import polar_iou_loss
from polarseg.models.task_modules import PointPostprocessor
from polarseg.ops import polar_ray_targets
from polarseg.registry import MODELS
from polarseg.structures import (
    PackedContours,
    PolygonInstances,
    decode_rays,
    largest_contour,
    mass_center,
    polar_centerness,
)

pytestmark = pytest.mark.golden('polarmask_units')


@pytest.fixture
def arrays(case):
    return {name: torch.from_numpy(array) for name, array in case['arrays'].items()}


def assert_near(actual, expected, tolerance=1e-4):
    actual, expected = torch.as_tensor(actual).double(), torch.as_tensor(expected).double()
    assert actual.shape == expected.shape
    limit = tolerance * expected.abs().max().item()
    assert (actual - expected).abs().max().item() <= limit


@pytest.mark.parametrize('variant', ['v1', 'v2', 'v3'])
def test_polar_iou_loss(arrays, variant):
    pred = arrays['iou_pred'].clone().requires_grad_()
    loss = polar_iou_loss(
        pred,
        arrays['iou_target'],
        arrays['iou_weight'],
        avg_factor=arrays['iou_weight'].sum(),
        variant=variant,
    )
    loss.backward()
    assert_near(loss[None], arrays[f'iou_{variant}_loss'])
    assert_near(pred.grad, arrays[f'iou_{variant}_grad'])
    rows = polar_iou_loss(pred, arrays['iou_target'], variant=variant, reduction='none')
    assert_near(rows, arrays[f'iou_{variant}_per_row'])


def test_polar_centerness(arrays):
    assert_near(polar_centerness(arrays['iou_target']), arrays['centerness'])


def published_head(**kwargs):
    return MODELS.build(
        dict(type='PolarMaskHead', num_classes=80, in_channels=32, feat_channels=32)
        | dict(inclusive_boxes=True)
        | kwargs
    )


def test_box_loss(arrays):
    head = published_head()
    pred = arrays['box_pred'].clone().requires_grad_()
    points, weight = arrays['box_points'], arrays['box_weight']
    loss = head.loss_bbox(
        head.areal_boxes(points, pred),
        head.areal_boxes(points, arrays['box_target']),
        weight=weight,
        avg_factor=weight.sum(),
    )
    loss.backward()
    assert_near(loss[None], arrays['box_loss'])
    assert_near(pred.grad, arrays['box_grad'])


def test_focal_loss(arrays):
    labels = arrays['focal_labels'].long()
    logits = arrays['focal_logits'].clone().requires_grad_()
    positives = (labels > 0).sum()
    # 0 is background there, 80 here
    loss = published_head().loss_cls(logits, (labels - 1) % 81, avg_factor=positives + 2)
    loss.backward()
    assert_near(loss[None], arrays['focal_loss'])
    assert_near(logits.grad, arrays['focal_grad'])


def test_centerness_loss(arrays):
    logits = arrays['ctr_logits'].clone().requires_grad_()
    loss = published_head().loss_centerness(logits, arrays['centerness'], avg_factor=len(logits))
    loss.backward()
    assert_near(loss[None], arrays['ctr_loss'])
    assert_near(logits.grad, arrays['ctr_grad'])


def test_decoding_and_rasterisation(arrays):
    points, rays = arrays['decode_points'], arrays['decode_rays']
    assert_near(decode_rays(points, rays).mT, arrays['decode_polygons'])
    height, width = arrays['raster_masks'].shape[1:]
    clipped = decode_rays(points, rays, (height, width))
    assert_near(clipped.mT, arrays['decode_polygons_clipped'])
    assert_near((clipped / torch.tensor([1.2, 1.28])).mT, arrays['rescale_nonuniform'])
    masks = PolygonInstances(clipped, height, width).to_ndarray()
    expected = arrays['raster_masks'].numpy()
    # OpenCV's outline differs between its versions by up to 1 % of a mask's area
    differing = (masks != expected).sum(axis=(1, 2))
    assert (differing <= 0.01 * expected.sum(axis=(1, 2))).all()


@pytest.mark.parametrize('max_per_img', [100, 15])
def test_nms_with_polygons(arrays, max_per_img):
    postprocess = PointPostprocessor(
        nms_pre=0,
        score_thr=0.05,
        centerness_offset=0.5,
        nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=max_per_img,
        inclusive_boxes=True,
    )
    chosen = postprocess.select(arrays['nms_in_scores'][:, 1:], arrays['nms_in_factors'] - 0.5)
    found = postprocess(arrays['nms_in_boxes'][chosen.index], chosen.scores, chosen.labels)
    name = f'nms{max_per_img}'
    assert_near(torch.cat([found.bboxes, found.scores[:, None]], 1), arrays[f'{name}_boxes'])
    assert found.labels.tolist() == arrays[f'{name}_labels'].long().tolist()
    assert chosen.index[found.index].tolist() == arrays[f'{name}_index'].long().tolist()


def test_contours_centers_rays(case):
    arrays = case['arrays']
    masks = arrays['contour_masks'].astype(np.uint8)
    contours = [largest_contour(mask) for mask in masks]
    assert [len(contour) for contour in contours] == arrays['contour_n_points'].tolist()
    centers = np.array([mass_center(contour) for contour in contours], np.float32)
    np.testing.assert_array_equal(centers, arrays['contour_centers'])
    packed = PackedContours.from_list(contours)
    index = torch.arange(len(contours))
    for origins, name in (
        (torch.from_numpy(centers), 'contour_rays_at_center'),
        (torch.tensor([[48.0, 32.0]]).repeat(len(contours), 1), 'contour_rays_at_48_32'),
    ):
        rays = polar_ray_targets(packed.points, packed.offsets, origins, index)
        assert_published_lengths(rays.numpy(), arrays[name])


def test_box_decoding_shares_the_published_distances(arrays):
    boxes = distance2bbox(arrays['box_points'], arrays['box_pred'])
    assert_near(boxes[:, 2] - boxes[:, 0], arrays['box_pred'][:, 0] + arrays['box_pred'][:, 2])
