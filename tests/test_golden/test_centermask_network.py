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


# -- the mask branch ------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def rois(detections):
    return torch.cat([detections.bboxes.new_zeros(len(detections), 1), detections.bboxes], dim=1)


@pytest.fixture(scope='module')
def pooled(case, model, features, rois):
    sizes = rois.new_tensor([[case['image']['height'], case['image']['width']]])
    extractor = model.roi_head.mask_roi_extractor
    with torch.no_grad():
        levels = extractor.map_roi_levels(rois, extractor.num_inputs, sizes)
        return levels, extractor(features, rois, sizes)


def test_pooling(case, pooled, check):
    levels, feats = pooled
    assert levels.tolist() == case['arrays']['det_levels'].tolist()
    check('roi_feats', feats[: len(case['arrays']['roi_feats'])])


def test_masks_of_the_detections(case, case_name, model, pooled, detections, check):
    arrays = case['arrays']
    head = model.roi_head.mask_head
    count = len(arrays['mask_logits'])
    feats, labels = pooled[1], detections.labels
    with torch.no_grad():
        attended = feats[:count]
        for conv in head.convs:
            attended = conv(attended)
        check('sag_feats', head.attention(attended))
        check('mask_logits', head.forward_labels(feats[:count], labels[:count]))
        every_class = head(feats[:1])[0]
    # the original's channel 0 is background, which is never used
    first = 1 if is_original(case_name) else 0
    expected = arrays['mask_logits_allcls'][first:]
    assert_near(every_class[:, ::4, ::4], expected, 'mask_logits_allcls')


def test_mask_scores(case, case_name, model, pooled, detections, check):
    if not model.roi_head.with_mask_scoring:
        pytest.skip('the model has no mask scoring')
    arrays, labels = case['arrays'], detections.labels
    with torch.no_grad():
        logits = model.roi_head.mask_head.forward_labels(pooled[1], labels)
        found = model.roi_head.mask_iou_head(pooled[1], logits)
    first = 1 if is_original(case_name) else 0
    count = len(arrays['maskiou'])
    assert_near(found[:count], arrays['maskiou'][:, first:], 'maskiou')
    own = found[torch.arange(len(found)), labels]
    check('mask_scores', detections.scores * own)


def test_final_results(case, case_name, model, batch, detections):
    arrays = case['arrays']
    with torch.no_grad():
        samples = [sample.clone() for sample in batch['data_samples']]
        found = model.predict(batch['inputs'], samples)[0].pred_instances
    boxes = found.bboxes.clone()
    if is_original(case_name):
        expected = arrays['final_boxes_xywh'].copy()
        expected[:, 2:] += expected[:, :2] - 1
        scores, labels = arrays['det_scores'], arrays['det_labels']
        mask_scores = arrays.get('mask_scores')
    else:
        expected, scores, labels = (arrays[f'final_{x}'] for x in ('boxes', 'scores', 'labels'))
        mask_scores = arrays.get('final_mask_scores')
    assert len(found) == len(expected)
    order = match(found, expected, scores, labels)
    assert_near(boxes[order], expected, 'final boxes')
    assert_near(found.scores[order], scores, 'final scores')
    if mask_scores is not None and model.roi_head.with_mask_scoring:
        assert_near(found.mask_scores[order], mask_scores, 'final mask scores')
    masks = coco_mask.decode(found.masks[order].to_rle())
    areas = arrays['final_mask_areas'].astype(np.int64)
    # a probability within rounding of the threshold may fall on either side
    np.testing.assert_allclose(masks.sum(axis=(0, 1)), areas, rtol=2e-3, atol=1)
    packed = arrays['final_masks_packed']
    height, width = masks.shape[:2]
    for mask, bits in zip(np.moveaxis(masks, 2, 0), packed):
        published = np.unpackbits(bits)[: height * width].reshape(height, width)
        assert (mask != published).sum() <= max(1, 1e-3 * published.sum())


# -- training -------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def training(case, model, recipe):
    """The case's batch of two, with ground truth."""
    entries = case['train']['images']
    images = [entry['image'] for entry in entries]
    batch = network_input(model, case, recipe, images, case['preprocessing']['pad_multiple'])
    for sample, entry in zip(batch['data_samples'], entries):
        polygons = [[np.array(part) for part in parts] for parts in entry['polygons']]
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(entry['boxes']).reshape(-1, 4),
            labels=torch.tensor(entry['labels'], dtype=torch.long),
            masks=PolygonMasks(polygons, *sample.img_shape),
        )
    return batch


@pytest.fixture(scope='module')
def proposals(model, training):
    with torch.no_grad():
        feats = model.extract_feat(training['inputs'])
        cfg = model.train_cfg['proposals']
        return feats, model.bbox_head.loss_and_predict(feats, training['data_samples'], cfg)[1]


def test_proposals(case, proposals):
    for picture, found in enumerate(proposals[1]):
        expected = case['arrays'][f'train_proposals_{picture}']
        assert len(found) == len(expected)
        order = match(found, expected[:, :4], expected[:, 4], expected[:, 5])
        assert_near(found.bboxes[order], expected[:, :4], 'boxes')
        assert_near(found.scores[order], expected[:, 4], 'scores')


def nearest_rows(rows, expected):
    """For each expected row the nearest of ours that is not taken yet."""
    free = np.ones(len(rows), dtype=bool)
    chosen = []
    for row in expected:
        cost = np.where(free, np.abs(rows - row).max(axis=1), np.inf)
        chosen.append(int(cost.argmin()))
        free[chosen[-1]] = False
    return chosen


def test_foreground(case, model, training, proposals):
    """Which proposals reach the mask branch, with which class and MaskIoU target."""
    arrays, head = case['arrays'], model.roi_head
    feats, found = proposals
    samples = training['data_samples']
    ground_truth = [sample.gt_instances for sample in samples]
    foreground = [head.match(*pair) for pair in zip(found, ground_truth)]
    assert [len(chosen.labels) for chosen in foreground] == case['train']['foreground_per_image']

    sizes = [sample.img_shape[:2] for sample in samples]
    picture = torch.cat([torch.full_like(c.labels, n) for n, c in enumerate(foreground)])
    boxes = torch.cat([chosen.bboxes for chosen in foreground])
    labels = torch.cat([chosen.labels for chosen in foreground])
    rois = torch.cat([picture[:, None].to(boxes), boxes], dim=1)
    with torch.no_grad():
        pooled = head.mask_roi_extractor(feats, rois, rois.new_tensor(sizes))
        logits = head.mask_head.choose(head.mask_head(pooled), labels)
    rows = torch.cat([rois, labels[:, None].to(rois)], dim=1).double().numpy()
    expected = arrays['train_fg']
    nearest = nearest_rows(rows, expected[:, :6])
    assert_near(rows[nearest], expected[:, :6], 'train_fg')
    probabilities = logits.sigmoid()[nearest]
    assert_near(probabilities[: len(arrays['train_fg_masks'])], arrays['train_fg_masks'], 'masks')
    if head.with_mask_scoring:
        targets = head._mask_targets(foreground, ground_truth, sizes, logits.shape[-1])
        ratios = head._area_ratios(foreground, ground_truth, sizes)
        ious = head.mask_iou_head.get_targets(logits, targets, ratios)
        assert_near(ious[nearest], expected[:, 6], 'MaskIoU targets')
        with torch.no_grad():
            predicted = head.mask_iou_head.forward_labels(pooled, logits, labels)
        assert_near(predicted[nearest], arrays['train_fg_maskiou'], 'train_fg_maskiou')


def test_losses_and_gradients(case, built, training):
    model, layout = built
    train, arrays = case['train'], case['arrays']
    model.train()
    model.zero_grad()
    losses = model.loss(training['inputs'], training['data_samples'])
    for name, value in train['losses'].items():
        np.testing.assert_allclose(losses[LOSSES[name]].item(), value, rtol=1e-4, err_msg=name)
    assert set(losses) == {LOSSES[name] for name in train['losses']}

    sum(losses.values()).backward()
    parameters = dict(model.named_parameters())
    names = [layout.rename(name) for name in train['grad_names']]
    gradients = [parameters[name].grad.double() for name in names]
    norms = [gradient.norm().item() for gradient in gradients]
    np.testing.assert_allclose(norms, arrays['grad_norms'], rtol=1e-3)
    # sums of terms of both signs: the norm is the scale of their rounding
    sums = [gradient.sum().item() for gradient in gradients]
    scale = arrays['grad_norms'] * np.sqrt([gradient.numel() for gradient in gradients])
    assert (np.abs(sums - arrays['grad_sums']) <= 1e-4 * scale).all()
    model.eval()
