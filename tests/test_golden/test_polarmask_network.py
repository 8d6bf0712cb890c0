"""Whole networks with the published tensors: pyramid, outputs, detections, losses."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_tools import assert_near, build_published, match, network_input, thinned
from mmdet.structures.bbox import distance2bbox
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from polarseg.apis.published import convert_state_dict
from polarseg.datasets.transforms import TracePolarContours
from polarseg.models.dense_heads.dense_outputs import select_candidates
from polarseg.models.task_modules import PointPostprocessor
from polarseg.structures import decode_rays

pytestmark = pytest.mark.golden('polarmask_network')

CONFIG_OF_CASE = {
    'polarmask_r50': '4gpu/polar_768_1x_r50.py',
    'polarmask_x101': '4gpu/polar_768_1x_x101.py',
    'polarmask_r50_dcn': '32gpu/polar_768_1x_r50_dcn2.py',
}


def config_of(case_name, case, root):
    """By the case's name where it is in the table, else by the published config it names."""
    folder = Path(root) / 'configs/polarmask'
    if case_name in CONFIG_OF_CASE:
        return Config.fromfile(folder / CONFIG_OF_CASE[case_name])
    named = re.search(r'configs/polarmask/(\S+\.py)', case['source'])
    assert named, f'{case_name} names no config in its source: {case["source"]!r}'
    return Config.fromfile(folder / named[1])


@pytest.fixture(scope='module')
def published(case, recipe):
    return recipe.state_dict(case)


@pytest.fixture(scope='module')
def model(case_name, case, published, request):
    config = config_of(case_name, case, request.config.rootpath)
    return build_published(config, published)[0]


def inputs_of(model, case, recipe, images):
    # the cases feed pictures at network resolution, not padded
    return network_input(model, case, recipe, images, pad_size_divisor=1)


@pytest.fixture(scope='module')
def outputs(model, case, recipe):
    """Pyramid and the four lists of the head."""
    with torch.no_grad():
        features = model.extract_feat(inputs_of(model, case, recipe, [case['image']])['inputs'])
        return features, model.bbox_head(features)


def test_pyramid_and_head(case, outputs):
    features, (cls_scores, bbox_preds, centernesses, ray_preds) = outputs
    named = dict(
        fpn=features, cls=cls_scores, centerness=centernesses, bbox=bbox_preds, mask=ray_preds
    )
    checked = 0
    for kind, levels in named.items():
        for number, maps in enumerate(levels, start=3):
            name = f'{kind}_p{number}'
            if name in case['arrays']:
                part = thinned(maps[0].detach(), case['outputs'][name]['meaning'])
                assert_near(part, case['arrays'][name], name)
                checked += 1
    assert checked, 'the case has none of the arrays that this test compares'


def test_decoding(case, model, outputs):
    sizes = [maps.shape[-2:] for maps in outputs[0]]
    grid = model.bbox_head.point_generator.grid_priors(sizes, device='cpu')
    image_shape = (case['image']['height'], case['image']['width'])
    levels = [name for name in case['arrays'] if name.startswith('polygons_p')]
    for name in levels:
        level = int(name[-1]) - 3
        flat = model.bbox_head.flatten_outputs(*([maps[level]] for maps in outputs[1]))
        polygons = decode_rays(grid[level], flat.ray_preds, image_shape)
        assert_near(polygons.mT, case['arrays'][name], name)
        boxes = f'boxes_p{level + 3}'
        if boxes in case['arrays']:
            limits = (image_shape[0] - 1, image_shape[1] - 1)
            decoded = distance2bbox(grid[level], flat.bbox_preds, max_shape=limits)
            assert_near(decoded, case['arrays'][boxes], boxes)
    if not levels:
        pytest.skip('the case has no decoded polygons')


@pytest.mark.parametrize('mask_nms', [False, True], ids=['box_nms', 'mask_nms'])
def test_detections(case, model, outputs, mask_nms):
    prefix = 'det_masknms' if mask_nms else 'det'
    if f'{prefix}_boxes' not in case['arrays']:
        pytest.skip(f'the case has no {prefix}_boxes')
    inference = case['inference']
    meta = {key: inference[key] for key in ('ori_shape', 'img_shape', 'scale_factor')}
    published = inference['test_cfg']
    assert published['nms_pre'] == model.test_cfg['nms_pre']
    assert published['score_thr'] == model.test_cfg['score_thr']
    assert published['nms']['iou_thr'] == model.test_cfg['nms']['iou_threshold']
    assert published['max_per_img'] == model.test_cfg['max_per_img']
    model.bbox_head.mask_nms = mask_nms
    with torch.no_grad():
        found = model.bbox_head.predict_by_feat(*outputs[1], batch_img_metas=[meta], rescale=True)[
            0
        ]
    model.bbox_head.mask_nms = False

    arrays = case['arrays']
    boxes, labels = arrays[f'{prefix}_boxes'], arrays[f'{prefix}_labels']
    assert len(found) == len(boxes)
    order = match(found, boxes[:, :4], boxes[:, 4], labels)
    assert_near(found.bboxes[order], boxes[:, :4], 'boxes')
    assert_near(found.scores[order], boxes[:, 4], 'scores')
    polygons = arrays[f'{prefix}_polygons']
    assert_near(found.masks.vertices[order].mT, polygons, 'polygons')
    areas = found.masks.to_ndarray().sum(axis=(1, 2))[order]
    # OpenCV's outline differs between its versions by up to 1 % of a mask's area
    np.testing.assert_allclose(areas, arrays[f'{prefix}_areas'], rtol=0.01, atol=1)


def training_instances(entries, height, width):
    """Ground truth of one picture, its contours traced as the pipeline does."""
    masks = []
    for entry in entries:
        rles = coco_mask.frPyObjects(entry['polygons'], height, width)
        masks.append(coco_mask.decode(coco_mask.merge(rles)))
    boxes = np.array([entry['bbox_xyxy'] for entry in entries], np.float32).reshape(-1, 4)
    labels = np.array([entry['label'] - 1 for entry in entries], np.int64)
    traced = TracePolarContours().transform(
        dict(
            gt_masks=BitmapMasks(masks, height, width),
            gt_bboxes=boxes,
            gt_bboxes_labels=labels,
            gt_ignore_flags=np.zeros(len(entries), bool),
        )
    )
    return InstanceData(
        bboxes=torch.from_numpy(traced['gt_bboxes']),
        labels=torch.from_numpy(traced['gt_bboxes_labels']),
        contours=traced['gt_contours'],
        centers=torch.from_numpy(traced['gt_centers']),
    )


def test_losses_and_gradients(case, model, outputs, recipe, published):
    train = case.get('train')
    if train is None:
        pytest.skip('the case has no training batch')
    batch = inputs_of(model, case, recipe, train['images'])
    samples = batch['data_samples']
    for sample, entries in zip(samples, train['instances']):
        sample.gt_instances = training_instances(entries, *sample.img_shape)
    sizes = [maps.shape[-2:] for maps in outputs[0]]
    ground_truth = [sample.gt_instances for sample in samples]
    if 'num_pos' in train:
        positive = model.bbox_head.get_targets(sizes, ground_truth).positive
        per_picture = sum(height * width for height, width in sizes)
        counts = [int((positive // per_picture == index).sum()) for index in range(len(samples))]
        assert counts == train['num_pos']
    model.train()
    model.zero_grad()
    losses = model.loss(batch['inputs'], samples)
    names = ('loss_cls', 'loss_bbox', 'loss_mask', 'loss_centerness')
    values = [losses[name].item() for name in names]
    np.testing.assert_allclose(values, case['arrays']['train_losses'], rtol=1e-4)

    sum(losses.values()).backward()
    parameters = dict(model.named_parameters())
    _, layout = convert_state_dict(published)
    norms = [parameters[layout.rename(name)].grad.norm() for name in train['grad_tensors']]
    np.testing.assert_allclose(norms, case['arrays']['train_grad_norms'], rtol=1e-3)
    model.eval()


def test_candidates_keep_every_small_level(outputs, model):
    """Levels up to nms_pre locations go on whole, so decoding sees what the fixtures list."""
    cls_scores, bbox_preds, centernesses, ray_preds = ([maps[-1]] for maps in outputs[1])
    points = torch.zeros(centernesses[0].numel(), 2)
    kept = select_candidates(
        0,
        cls_scores,
        centernesses,
        (bbox_preds, ray_preds),
        [points],
        PointPostprocessor(nms_pre=1000, score_thr=-1.0),
    )
    assert len(kept.points) == len(points) * cls_scores[0].shape[1]
    assert torch.equal(kept.rows[1][:: cls_scores[0].shape[1]], ray_preds[0][0].flatten(1).mT)
