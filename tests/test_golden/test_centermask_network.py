"""Whole networks with the published tensors: pyramid, outputs, detections, masks, losses."""

import re

import numpy as np
import pytest
import torch
from centermask_configs import config_of, is_original
from golden_tools import assert_near, build_published, match, network_input, thinned
from mmdet.structures.mask import PolygonMasks
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

pytestmark = pytest.mark.golden('centermask_network')

PYRAMID = re.compile(r'(fpn|cls|reg|ctr)_p([3-7])')
LOSSES = {
    'loss_fcos_cls': 'loss_cls',
    'loss_fcos_ctr': 'loss_centerness',
    'loss_fcos_loc': 'loss_bbox',
    'loss_cls': 'loss_cls',
    'loss_centerness': 'loss_centerness',
    'loss_reg': 'loss_bbox',
    'loss_mask': 'loss_mask',
    'loss_maskiou': 'loss_mask_iou',
}


@pytest.fixture(scope='module')
def published(case, recipe):
    return recipe.state_dict(case)


@pytest.fixture(scope='module')
def built(case_name, case, published, request):
    return build_published(config_of(case_name, case, request.config.rootpath), published)


@pytest.fixture(scope='module')
def model(built):
    return built[0]


@pytest.fixture
def check(case):
    """Compare an array of the case, as it is thinned there, with ours."""

    def compare(name, ours, tolerance=1e-4):
        meaning = case['outputs'][name]['meaning']
        assert_near(thinned(ours.detach(), meaning), case['arrays'][name], name, tolerance)

    return compare


@pytest.fixture(scope='module')
def batch(model, case, recipe):
    divisor = case['preprocessing']['pad_multiple']
    assert divisor == model.data_preprocessor.pad_size_divisor
    return network_input(model, case, recipe, [case['image']], divisor)


@pytest.fixture(scope='module')
def features(model, batch):
    with torch.no_grad():
        return model.extract_feat(batch['inputs'])


@pytest.fixture(scope='module')
def detections(case, model, features, batch):
    """Our boxes in the order of the fixture's."""
    with torch.no_grad():
        found = model.bbox_head.predict(features, batch['data_samples'], rescale=False)[0]
    arrays = case['arrays']
    assert len(found) == len(arrays['det_boxes'])
    return found[match(found, arrays['det_boxes'], arrays['det_scores'], arrays['det_labels'])]


def test_pyramid_and_head(case, model, features, check):
    with torch.no_grad():
        cls_scores, bbox_preds, centernesses = model.bbox_head(features)
    named = dict(fpn=features, cls=cls_scores, reg=bbox_preds, ctr=centernesses)
    names = [name for name in case['arrays'] if PYRAMID.fullmatch(name)]
    assert names
    for name in names:
        kind, level = PYRAMID.fullmatch(name).groups()
        check(name, named[kind][int(level) - 3][0])


def test_published_thresholds(case, model):
    ours, published = model.test_cfg, case['test']
    assert ours['score_thr'] == published['score_threshold']
    assert ours['nms_pre'] == published['pre_nms_topk']
    assert ours['nms']['iou_threshold'] == published['nms']
    assert ours['max_per_img'] == published['post_nms_topk']
    assert model.train_cfg['proposals']['max_per_img'] == case['train']['post_nms_topk']


def test_detections(detections, check):
    check('det_boxes', detections.bboxes)
    check('det_scores', detections.scores)
