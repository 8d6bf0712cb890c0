"""BlendMask's head: FCOS' results, and the attention where it is needed."""

import pytest
import torch
from mmdet.structures import DetDataSample

from polarseg.models.dense_heads.dense_outputs import flatten_levels
from polarseg.models.task_modules import box_centerness
from polarseg.registry import MODELS

STRIDES = (8, 16, 32)
CFG = dict(
    type='BlendMaskHead',
    top_channels=36,
    num_classes=3,
    in_channels=32,
    feat_channels=32,
    stacked_convs=1,
    strides=STRIDES,
    assigner=dict(regress_ranges=[(-1, 32), (32, 64), (64, 1e8)]),
    test_cfg=dict(score_thr=1e-4, nms=dict(type='nms', iou_threshold=0.6), max_per_img=20),
)


def build(**options):
    head = MODELS.build(CFG | options)
    head.init_weights()
    torch.nn.init.constant_(head.conv_reg.bias, 1.0)
    return head


def samples_of(ground_truth, metas):
    samples = []
    for instances, meta in zip(ground_truth, metas):
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = instances
        samples.append(sample)
    return samples


@pytest.fixture(params=[True, False], ids=['box tower', 'class tower'])
def top_on_reg(request):
    return request.param


def test_losses_are_those_of_fcos(feats, ground_truth, metas):
    head = build()
    options = {key: value for key, value in CFG.items() if key not in ('type', 'top_channels')}
    fcos = MODELS.build(dict(options, type='FCOSHead'))
    fcos.load_state_dict(head.state_dict(), strict=False)
    samples = samples_of(ground_truth, metas)
    found = head.loss(feats, samples)
    expected = fcos.loss(feats, samples)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_positives(feats, ground_truth, metas, top_on_reg):
    head = build(top_on_reg=top_on_reg)
    samples = samples_of(ground_truth, metas)
    _, positives = head.loss_and_positives(feats, samples)
    targets = head.get_targets([feat.shape[-2:] for feat in feats], ground_truth)
    maps = flatten_levels(head.attention_maps(feats))
    assert len(targets.positive) > 10
    torch.testing.assert_close(positives.attentions, maps[targets.positive])
    assert torch.equal(positives.gt_index, targets.gt_index)
    weights = box_centerness(targets.distances)
    torch.testing.assert_close(positives.weights, weights)
    torch.testing.assert_close(positives.avg_factor, weights.sum())


def test_the_tower_that_the_attention_reads(feats, top_on_reg):
    head = build(top_on_reg=top_on_reg)
    maps = head.attention_maps(feats)
    gradients = torch.autograd.grad(
        sum(level.sum() for level in maps),
        [head.reg_convs[0].conv.weight, head.cls_convs[0].conv.weight],
        allow_unused=True,
    )
    assert [gradient is not None for gradient in gradients] == [top_on_reg, not top_on_reg]


def test_each_detection_has_the_attention_of_its_location(feats, ground_truth, metas):
    head = build()
    results = head.predict(feats, samples_of(ground_truth, metas), rescale=False)
    maps = head.attention_maps(feats)
    _, bbox_preds, _, _ = head(feats)
    points = torch.cat(head.locations([feat.shape[-2:] for feat in feats], 'cpu'))
    for picture, found in enumerate(results):
        own = [level[picture : picture + 1] for level in maps]
        rows = flatten_levels(own)
        # a detection's location, found again by its box
        scaled = [
            level[picture : picture + 1] * stride for level, stride in zip(bbox_preds, STRIDES)
        ]
        distances = flatten_levels(scaled)
        boxes = torch.cat([points - distances[:, :2], points + distances[:, 2:]], dim=1)
        assert found.attentions.shape == (20, 36)
        assert not found.attentions.requires_grad
        for box, attention in zip(found.bboxes, found.attentions):
            location = (boxes - box).abs().amax(dim=1).argmin()
            torch.testing.assert_close(attention, rows[location])


def test_without_instances_every_parameter_has_a_gradient(feats, draw, metas):
    head = build()
    losses, positives = head.loss_and_positives(feats, samples_of([draw([])] * 2, metas))
    assert positives.attentions.shape == (0, 36)
    total = sum(losses.values()) + positives.attentions.sum()
    total.backward()
    assert total.isfinite()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name


def test_nothing_found(feats, metas):
    head = build()
    cfg = dict(CFG['test_cfg'], score_thr=0.99)
    for found in head.predict_by_feat(*head(feats), metas, cfg=cfg):
        assert found.attentions.shape == (0, 36)
        assert len(found) == 0


@pytest.mark.gpu
def test_devices_agree(feats, ground_truth, metas):
    head = build()
    expected, positives = head.loss_and_positives(feats, samples_of(ground_truth, metas))
    head.cuda()
    samples = [sample.to('cuda') for sample in samples_of(ground_truth, metas)]
    losses, found = head.loss_and_positives([feat.cuda() for feat in feats], samples)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name].cpu(), value, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.attentions.cpu(), positives.attentions, rtol=1e-3, atol=1e-4)
