"""CenterMask's mask branch, module by module, against the published ones."""

import numpy as np
import pytest
import torch
from mmdet.structures.mask import PolygonMasks
from mmengine.structures import InstanceData

from polarseg.models.mask_heads import MaskIoUHead, SAGMaskHead, SpatialAttention
from polarseg.models.roi_heads import AdaptiveRoIExtractor, CenterMaskRoIHead
from polarseg.structures import BoxMaskInstances, area_ratios, crop_masks

pytestmark = pytest.mark.golden('centermask_units')

SMALL = dict(in_channels=16, conv_out_channels=16, num_convs=2, num_classes=5)
RULES = dict(d2='all_parts', legacy='first_part')


@pytest.fixture
def arrays(case):
    return {name: torch.from_numpy(array) for name, array in case['arrays'].items()}


def assert_near(actual, expected, tolerance=1e-5):
    actual, expected = torch.as_tensor(actual).double(), torch.as_tensor(expected).double()
    assert actual.shape == expected.shape
    limit = tolerance * expected.abs().max().item()
    assert (actual - expected).abs().max().item() <= limit


@pytest.fixture
def load(case, recipe):
    """Fill a module with a published module's weights, all of them."""

    def load(module, name, renamed):
        arrays = {
            entry[0].removeprefix(f'{name}.'): recipe.make_array(*entry[:2], *entry[3:])
            for entry in case['modules'][name]
        }
        state = {}
        for key, array in arrays.items():
            for old, new in renamed.items():
                key = key.replace(old, new)
            state[key] = torch.from_numpy(np.array(array))
        module.load_state_dict(state)
        return module.eval()

    return load


@pytest.fixture
def mask_head(load):
    names = {f'mask_fcn{n + 1}.': f'convs.{n}.conv.' for n in range(2)}
    names |= {'spatialAtt': 'attention', 'deconv': 'upsample', 'predictor': 'conv_logits'}
    return load(SAGMaskHead(**SMALL), 'maskhead', names)


@pytest.fixture
def mask_iou_head(load):
    names = {f'maskiou_fcn{n + 1}.': f'convs.{n}.' for n in range(2)}
    names |= {f'maskiou_fc{n + 1}.': f'fcs.{n}.' for n in range(2)}
    return load(MaskIoUHead(**SMALL), 'maskiouhead', names | {'maskiou.': 'fc_mask_iou.'})


def test_spatial_attention(load, arrays):
    attention = load(SpatialAttention(), 'sam', {})
    assert_near(attention(arrays['sam_in']), arrays['sam_out'])


def test_mask_head(mask_head, arrays):
    feats, expected = arrays['maskhead_in'], arrays['maskhead_out']
    assert_near(mask_head(feats), expected)
    for label in range(5):
        found = mask_head.forward_labels(feats, torch.full((4,), label))
        assert_near(found, expected[:, label])


def test_mask_iou_head_and_loss(mask_iou_head, arrays):
    logits = arrays['maskiouhead_mask'][:, 0].double().logit().float()
    expected = arrays['maskiouhead_out']
    assert_near(mask_iou_head(arrays['maskhead_in'], logits), expected)
    labels = torch.tensor([0, 3, 1, 4])
    found = mask_iou_head.forward_labels(arrays['maskhead_in'], logits, labels)
    assert_near(found, expected[range(4), labels])
    targets = arrays['maskiou_loss_target']
    assert (targets == 0).any()
    loss = [mask_iou_head.loss(found, target) for target in (targets, targets * 0)]
    assert_near(torch.stack(loss), arrays['maskiou_loss'])


@pytest.mark.parametrize('picture', [0, 1])
@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize(('rule', 'name'), [('area_ratio', 'ratio'), ('canonical', 'area')])
def test_roi_levels(case, arrays, picture, legacy, rule, name):
    layer = dict(type='RoIAlign', output_size=14, sampling_ratio=0)
    extractor = AdaptiveRoIExtractor(layer, 16, level_rule=rule, inclusive_boxes=legacy)
    boxes = arrays[f'roi_boxes_{picture}']
    # the second picture of a batch
    rois = torch.cat([torch.ones(len(boxes), 1), boxes], dim=1)
    sizes = torch.tensor([[999, 999], case['roi_image_sizes'][picture]])
    levels = extractor.map_roi_levels(rois, 3, sizes)
    expected = arrays[f'roi_level_{name}{"_legacy" if legacy else ""}_{picture}']
    assert levels.tolist() == expected.tolist()
    assert len(levels.unique()) == 3


class Example:
    """Three instances, six proposals and the networks' mask logits for them."""

    def __init__(self, case, arrays, flavour):
        example = case['miou_example']
        self.size = example['image_height'], example['image_width']
        parts = [[np.array(part) for part in parts] for parts in example['polygons']]
        self.masks = PolygonMasks(parts, *self.size)
        self.labels = torch.tensor(example['labels'])
        self.boxes = arrays['miou_target_boxes']
        self.owner = arrays['miou_target_owner'].long()
        self.logits = arrays['miou_target_logits'][:, 1:]
        self.crop = {}
        if flavour == 'legacy':
            chosen = arrays['miou_labels_legacy'] >= 0
            self.boxes, self.owner = self.boxes[chosen], self.owner[chosen]
            self.logits = self.logits[chosen]
            self.crop = dict(min_side=1, image_size=self.size)


@pytest.fixture
def example(case, arrays, flavour):
    return Example(case, arrays, flavour)


@pytest.mark.parametrize('flavour', ['d2', 'legacy'])
def test_mask_targets_and_loss(example, arrays, mask_head, flavour):
    crops = crop_masks(example.masks, example.owner, example.boxes, 28, **example.crop)
    expected = arrays[f'mask_target_28{"" if flavour == "d2" else "_legacy"}']
    np.testing.assert_array_equal(crops, expected)
    loss = mask_head.loss(example.logits, crops.float(), example.labels[example.owner])
    assert_near(loss[None], arrays[f'mask_loss_{flavour}'])


@pytest.mark.parametrize('flavour', ['d2', 'legacy'])
def test_mask_iou_targets(example, arrays, mask_iou_head, flavour):
    args = example.masks, example.owner, example.boxes
    crops = crop_masks(*args, 28, **example.crop)
    ratios = area_ratios(*args, RULES[flavour], example.size)
    if flavour == 'legacy':
        assert_near(ratios, arrays['miou_ratio_legacy'], 1e-6)
        assert ratios.max() > 1
    own = example.logits[range(len(crops)), example.labels[example.owner]]
    targets = mask_iou_head.get_targets(own, crops, ratios)
    assert targets.dtype == torch.float32
    assert_near(targets, arrays[f'miou_target_{flavour}'], 1e-6)


def test_matching_with_inclusive_boxes(case, arrays):
    head = CenterMaskRoIHead(
        dict(roi_layer=dict(type='RoIAlign', output_size=14), out_channels=16),
        dict(**SMALL),
        inclusive_boxes=True,
        train_cfg=dict(sampler=dict(type='mmdet.PseudoSampler', add_gt_as_proposals=False)),
    )
    labels = arrays['miou_labels_legacy']
    ground_truth = InstanceData(
        bboxes=arrays['miou_gt_boxes_legacy'], labels=torch.tensor(case['miou_example']['labels'])
    )
    boxes = arrays['miou_target_boxes']
    found = head.match(InstanceData(bboxes=boxes), ground_truth)
    assert torch.equal(found.bboxes, boxes[labels >= 0])
    assert found.labels.tolist() == labels[labels >= 0].tolist()
    assert torch.equal(found.gt_index, arrays['miou_target_owner'][labels >= 0].long())


@pytest.mark.parametrize(
    ('rule', 'name'), [('half_pixel', 'paste_d2'), ('integer_box', 'paste_legacy')]
)
def test_pasting(arrays, rule, name):
    maps, boxes = arrays['paste_masks'][:, 0], arrays['paste_boxes'].float()
    masks = BoxMaskInstances(maps, boxes, 48, 64, rule=rule)
    np.testing.assert_array_equal(masks.to_ndarray(), arrays[name])
