"""Whole networks with the published tensors: pyramid, outputs, bases, detections, masks, losses."""

import re

import numpy as np
import pytest
import torch
from blendmask_configs import config_of
from golden_tools import assert_near, build_published, match, network_input
from mmdet.structures.mask import PolygonMasks
from mmengine.structures import InstanceData, PixelData
from pycocotools import mask as coco_mask

pytestmark = pytest.mark.golden('blendmask_network')

PYRAMID = re.compile(r'(fpn|cls|reg|ctr|top)_p([3-7])')
LOSSES = {
    'loss_fcos_cls': 'loss_cls',
    'loss_fcos_loc': 'loss_bbox',
    'loss_fcos_ctr': 'loss_centerness',
    'loss_mask': 'loss_mask',
    'loss_basis_sem': 'loss_basis_sem',
}


@pytest.fixture(scope='module')
def built(case_name, case, recipe, request):
    config = config_of(case_name, case, request.config.rootpath)
    return build_published(config, recipe.state_dict(case))


@pytest.fixture(scope='module')
def model(built):
    return built[0]


@pytest.fixture(scope='module')
def batch(model, case, recipe):
    divisor = case['preprocessing']['pad_to_multiple_of']
    assert divisor == model.data_preprocessor.pad_size_divisor
    batch = network_input(model, case, recipe, [case['image']], divisor)
    output, image = case['output_size'], case['image']
    (sample,) = batch['data_samples']
    sample.set_metainfo(
        dict(
            ori_shape=(output['height'], output['width']),
            scale_factor=(image['width'] / output['width'], image['height'] / output['height']),
        )
    )
    return batch


@pytest.fixture(scope='module')
def features(model, batch):
    with torch.no_grad():
        return model.extract_feat(batch['inputs'])


@pytest.fixture(scope='module')
def detections(case, model, features, batch):
    """Our detections in the order of the fixture's."""
    with torch.no_grad():
        found = model.bbox_head.predict(features[0], batch['data_samples'], rescale=False)[0]
    arrays = case['arrays']
    assert len(found) == len(arrays['raw_boxes'])
    return found[match(found, arrays['raw_boxes'], arrays['raw_scores'], arrays['raw_classes'])]


@pytest.fixture
def check(case):
    """Compare an array of the case, as it is thinned there, with ours ``[1, C, H, W]``."""

    def compare(name, ours):
        meaning = case['outputs'][name]['meaning']
        steps = [int(step) for step in re.findall(r'::(\d+)', meaning)] + [1, 1, 1]
        thinned = ours[0, :: steps[0], :: steps[1], :: steps[2]]
        assert_near(thinned, case['arrays'][name], name)

    return compare


def test_input(case, batch):
    inputs, image = batch['inputs'], case['image']
    assert_near(inputs[0, :, :8, :8], case['arrays']['input_crop'], 'input')
    rows, columns = (slice(image[side] - 4, image[side] + 4) for side in ('height', 'width'))
    assert_near(inputs[0, :, rows, columns], case['arrays']['input_pad_crop'], 'padding')


def test_pyramid_head_and_bases(case, model, features, check):
    with torch.no_grad():
        cls_scores, bbox_preds, centernesses, _ = model.bbox_head(features[0])
        attentions = model.bbox_head.attention_maps(features[0])
        bases = model.basis_module(features[1])
    named = dict(fpn=features[0], cls=cls_scores, reg=bbox_preds, ctr=centernesses, top=attentions)
    names = [name for name in case['arrays'] if PYRAMID.fullmatch(name)]
    assert len(names) >= 5 * len(cls_scores)
    for name in names:
        kind, level = PYRAMID.fullmatch(name).groups()
        check(name, named[kind][int(level) - 3])
    check('bases', bases)


def test_published_thresholds(case, model):
    ours, published = model.test_cfg, case['inference']
    assert ours['score_thr'] == published['score_threshold_on_product']
    assert ours['thresh_with_ctr'] == published['threshold_includes_centerness']
    assert ours['nms_pre'] == published['pre_nms_topk_per_level']
    assert ours['nms']['iou_threshold'] == published['nms_iou']
    assert ours['max_per_img'] == published['post_nms_topk']


def test_detections(case, detections):
    assert_near(detections.bboxes, case['arrays']['raw_boxes'], 'boxes')
    assert_near(detections.scores, case['arrays']['raw_scores'], 'scores')


def test_blended_masks(case, model, features, detections):
    expected = case['arrays']['mask_probs']
    boxes = detections.bboxes[: len(expected)]
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)
    with torch.no_grad():
        bases = model.basis_module(features[1])
        logits = model.blender(bases, detections.attentions[: len(expected)], rois)
    assert_near(logits.sigmoid(), expected, 'mask_probs')


def test_final_results(case, model, batch):
    arrays = case['arrays']
    with torch.no_grad():
        samples = [sample.clone() for sample in batch['data_samples']]
        found = model.predict(batch['inputs'], samples)[0].pred_instances
    assert len(found) == len(arrays['boxes'])
    order = match(found, arrays['boxes'], arrays['scores'], arrays['classes'])
    assert_near(found.bboxes[order], arrays['boxes'], 'boxes')
    assert_near(found.scores[order], arrays['scores'], 'scores')
    masks = np.moveaxis(coco_mask.decode(found.masks[order].to_rle()), 2, 0)
    # pixels whose probability is within rounding of the threshold may fall on either side
    ambiguous = arrays['mask_ambiguous'].astype(np.int64)
    areas = arrays['mask_areas'].astype(np.int64)
    allowed = ambiguous + np.maximum(1, 1e-3 * areas)
    assert (np.abs(masks.sum(axis=(1, 2)) - areas) <= allowed).all()
    height, width = masks.shape[1:]
    for mask, bits, limit in zip(masks, arrays['masks_packed'], allowed):
        published = np.unpackbits(bits)[: height * width].reshape(height, width)
        assert (mask != published).sum() <= limit


# -- training -------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def training(case, model, recipe):
    """The case's batch of two, with ground truth and label maps."""
    entries = case['training']['images']
    images = [entry['image'] for entry in entries]
    divisor = case['preprocessing']['pad_to_multiple_of']
    batch = network_input(model, case, recipe, images, divisor)
    height, width = batch['inputs'].shape[-2:]
    for number, (sample, entry) in enumerate(zip(batch['data_samples'], entries)):
        annotations = entry['annotations']
        polygons = [[np.array(part) for part in one['segmentation']] for one in annotations]
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([one['bbox_xyxy'] for one in annotations]).reshape(-1, 4),
            labels=torch.tensor([one['label'] for one in annotations], dtype=torch.long),
            masks=PolygonMasks(polygons, *sample.img_shape),
        )
        labels = torch.from_numpy(case['arrays'][f'train_basis_sem_{number}'])
        padded = torch.zeros(1, height, width, dtype=labels.dtype)
        padded[0, : labels.shape[0], : labels.shape[1]] = labels
        sample.gt_sem_seg = PixelData(sem_seg=padded)
    return batch


def test_targets(case, model, training):
    arrays = case['arrays']
    ground_truth = [sample.gt_instances for sample in training['data_samples']]
    with torch.no_grad():
        sizes = [level.shape[-2:] for level in model.extract_feat(training['inputs'])[0]]
    sizes = sizes[: len(model.bbox_head.strides)]
    targets = model.bbox_head.get_targets(sizes, ground_truth)
    pictures, locations = arrays['train_labels'].shape
    assert targets.labels.view(pictures, locations).tolist() == arrays['train_labels'].tolist()
    found = torch.full((pictures * locations,), -1)
    first = torch.tensor([0, len(ground_truth[0])])[targets.positive // locations]
    found[targets.positive] = targets.gt_index - first
    assert found.view(pictures, locations).tolist() == arrays['train_gt_inds'].tolist()
    distances = targets.distances / targets.strides[:, None]
    assert_near(distances, arrays['train_reg_targets'], 'train_reg_targets')


def test_losses_and_gradients(case, built, training):
    model, layout = built
    published = case['training']
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    model.zero_grad()
    losses = model.loss(training['inputs'], training['data_samples'])
    assert set(losses) == {LOSSES[name] for name in published['losses']}
    for name, value in published['losses'].items():
        np.testing.assert_allclose(losses[LOSSES[name]].item(), value, rtol=1e-4, err_msg=name)

    sum(losses.values()).backward()
    parameters = dict(model.named_parameters())
    for name, norm in published['gradient_norms'].items():
        found = parameters[layout.rename(name)].grad.double().norm().item()
        np.testing.assert_allclose(found, norm, rtol=1e-3, err_msg=name)
    model.eval()
