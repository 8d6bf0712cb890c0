"""PolarMaskHead: layers, targets and losses."""

import math

import pytest
import torch
from mmengine.structures import InstanceData

from polarseg.models.dense_heads.polarmask_head import PolarTargets
from polarseg.ops import polar_ray_targets

LEVELS = [(16, 16), (8, 8), (4, 4)]
LOCATIONS = sum(height * width for height, width in LEVELS)

OPTIONS = {
    'default': dict(),
    '18 rays': dict(num_rays=18),
    '72 rays': dict(num_rays=72),
    '40 rays': dict(num_rays=40),
    'binned': dict(ray_mode='binned'),
    'box centerness': dict(centerness_type='box'),
    'no box': dict(with_bbox=False),
    'mask_nms': dict(mask_nms=True),
    'dcn': dict(use_dcn=True),
    'dcn v1': dict(use_dcn=True, dcn_cfg=dict(type='DCN', deform_groups=1)),
    'smooth-l1': dict(loss_mask=dict(type='RaySmoothL1Loss', loss_weight=0.3)),
    'iou v2': dict(loss_mask=dict(type='PolarIoULoss', variant='v2')),
    'iou v3': dict(loss_mask=dict(type='PolarIoULoss', variant='v3')),
    'box centre': dict(
        assigner=dict(
            sampling_center='box', regress_ranges=[(-1, 32), (32, 64), (64, 1e8)], radius=1.0
        )
    ),
    'no centre': dict(
        assigner=dict(sampling_center=None, regress_ranges=[(-1, 32), (32, 64), (64, 1e8)])
    ),
    'inclusive': dict(inclusive_boxes=True),
    'inclusive mask_nms': dict(inclusive_boxes=True, mask_nms=True),
    'averaged over processes': dict(sync_avg_factor=True),
    'two convolutions': dict(stacked_convs=2),
    'no tower': dict(stacked_convs=0),
}


def losses_of(head, feats, ground_truth):
    return head.loss_by_feat(*head(feats), ground_truth, [{}] * len(ground_truth))


@pytest.mark.parametrize('name', OPTIONS)
def test_every_option_trains_and_predicts(build_head, feats, ground_truth, metas, name):
    options = OPTIONS[name]
    head = build_head(**options)
    losses = losses_of(head, feats, ground_truth)
    expected = {'loss_cls', 'loss_mask', 'loss_centerness', 'loss_bbox'}
    assert set(losses) == expected - ({'loss_bbox'} if options.get('with_bbox') is False else set())
    for value in losses.values():
        assert value.isfinite()
        assert value > 0
    sum(losses.values()).backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        # a level without a positive leaves its scales at 0, but no level does so here
        assert parameter.grad.any(), parameter_name

    # low enough for an untrained head
    found = head.predict_by_feat(*head(feats), metas, cfg=dict(head.test_cfg, score_thr=1e-3))
    assert len(found) == 2
    for instances in found:
        count = len(instances)
        assert 0 < count <= 100
        num_rays = options.get('num_rays', 36)
        assert instances.masks.vertices.shape == (count, num_rays, 2)
        assert instances.bboxes.shape == (count, 4)
        assert instances.bboxes.isfinite().all()
        assert (instances.scores.diff() <= 0).all()
        assert instances.labels.max() < 3
        last = 127 if options.get('inclusive_boxes') or 'mask_nms' in options else 128
        assert instances.bboxes.min() >= 0
        assert instances.bboxes.max() <= last
        assert instances.masks.vertices.max() <= 127
        if head.mask_nms:
            torch.testing.assert_close(instances.bboxes, instances.masks.boxes())


def test_binned_targets_need_a_divisor_of_360(build_head, feats, ground_truth):
    head = build_head(num_rays=50, ray_mode='binned')
    with pytest.raises(ValueError, match='num_rays must divide 360'):
        losses_of(head, feats, ground_truth)


def test_unknown_options(build_head):
    with pytest.raises(ValueError, match=r"centerness_type.*'mass'"):
        build_head(centerness_type='mass')
    with pytest.raises(ValueError, match='sampling_center'):
        build_head(assigner=dict(sampling_center='middle'))


def test_shapes_of_the_outputs(build_head, feats):
    cls_scores, bbox_preds, centernesses, ray_preds = build_head(num_rays=18)(feats)
    for level, size in enumerate(LEVELS):
        assert cls_scores[level].shape == (2, 3, *size)
        assert bbox_preds[level].shape == (2, 4, *size)
        assert centernesses[level].shape == (2, 1, *size)
        assert ray_preds[level].shape == (2, 18, *size)
        assert (bbox_preds[level] > 0).all()
        assert (ray_preds[level] > 0).all()
    assert build_head(with_bbox=False)(feats)[1] == [None] * 3


def test_initial_weights(build_head):
    head = build_head(use_dcn=True)
    assert head.polar_cls.bias.tolist() == pytest.approx([-math.log(99)] * 3)
    for name, parameter in head.named_parameters():
        if 'conv_offset' in name:
            assert not parameter.any(), f'{name}: offsets must start at zero'
    for predictor in (head.polar_cls, head.polar_reg, head.polar_mask, head.polar_centerness):
        assert predictor.weight.std().item() == pytest.approx(0.01, rel=0.15)
    plain = build_head()
    assert plain.cls_convs[0].conv.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert [scale.scale.item() for scale in plain.scales_mask] == [1, 1, 1]


# -- targets --------------------------------------------------------------------------------------


def test_targets_of_a_batch_are_those_of_its_pictures(build_head, ground_truth):
    head = build_head()
    empty = ground_truth[0][:0]
    batch = [ground_truth[0], empty, ground_truth[1]]
    together = head.get_targets(LEVELS, batch)
    alone = [head.get_targets(LEVELS, [instances]) for instances in batch]
    assert len(alone[1].positive) == 0
    assert len(alone[0].positive) > 0
    shifted = [one._replace(positive=one.positive + i * LOCATIONS) for i, one in enumerate(alone)]
    for name in PolarTargets._fields:
        joined = torch.cat([getattr(one, name) for one in shifted])
        assert torch.equal(getattr(together, name), joined), name


def test_targets_belong_to_the_assigned_instances(build_head, ground_truth):
    head = build_head()
    instances = ground_truth[0]
    targets = head.get_targets(LEVELS, [instances])
    background = torch.ones(LOCATIONS, dtype=torch.bool)
    background[targets.positive] = False
    assert (targets.labels[background] == 3).all()
    labels = targets.labels[targets.positive]
    assert set(labels.tolist()) == {0, 1, 2}
    for label, point, sides, rays in zip(labels, *targets[2:]):
        own = (instances.labels == label).nonzero().item()
        box = torch.cat([point - sides[:2], point + sides[2:]])
        assert torch.equal(box, instances.bboxes[own])
        contour = instances.contours[own]
        expected = polar_ray_targets(
            contour.points, contour.offsets, point[None], torch.zeros(1, dtype=torch.long), 36,
            'exact',
        )  # fmt: skip
        assert torch.equal(rays, expected[0])


def test_centerness_targets(build_head, ground_truth):
    targets = build_head().get_targets(LEVELS, ground_truth)
    polar = build_head()._centerness_targets(targets)
    shortest, longest = targets.rays.min(dim=1).values, targets.rays.max(dim=1).values
    torch.testing.assert_close(polar, (shortest / longest).sqrt())
    box = build_head(centerness_type='box')._centerness_targets(targets)
    left, top, right, bottom = targets.distances.unbind(dim=1)
    expected = torch.sqrt(
        torch.minimum(left, right) / torch.maximum(left, right)
        * torch.minimum(top, bottom) / torch.maximum(top, bottom)
    )  # fmt: skip
    torch.testing.assert_close(box, expected)
    assert not torch.allclose(polar, box)


def test_ground_truth_without_contours(build_head, feats):
    plain = InstanceData(bboxes=torch.zeros(1, 4), labels=torch.zeros(1, dtype=torch.long))
    with pytest.raises(AttributeError, match=r'contours.*centers.*TracePolarContours.*PackPolar'):
        losses_of(build_head(), feats, [plain, plain])


# -- losses ---------------------------------------------------------------------------------------


def perfect_outputs(head, ground_truth):
    """Maps that say exactly what the targets say."""
    targets = head.get_targets(LEVELS, ground_truth)
    count = len(ground_truth) * LOCATIONS
    cls_scores = torch.full((count, 3), -20.0)
    cls_scores[targets.positive, targets.labels[targets.positive]] = 20.0
    bboxes, rays = torch.ones(count, 4), torch.ones(count, head.num_rays)
    bboxes[targets.positive], rays[targets.positive] = targets.distances, targets.rays
    centernesses = torch.zeros(count, 1)
    centernesses[targets.positive, 0] = head._centerness_targets(targets).logit()

    def maps(rows):
        levels = rows.reshape(len(ground_truth), LOCATIONS, -1).split([256, 64, 16], dim=1)
        return [level.mT.unflatten(2, size) for level, size in zip(levels, LEVELS)]

    return [maps(rows) for rows in (cls_scores, bboxes, centernesses, rays)], targets


@pytest.mark.parametrize('inclusive', [False, True])
def test_perfect_outputs_cost_nothing(build_head, draw, ground_truth, inclusive):
    head = build_head(inclusive_boxes=inclusive)
    outputs, targets = perfect_outputs(head, ground_truth)
    losses = head.loss_by_feat(*outputs, ground_truth, [{}] * 2)
    for name in ('loss_cls', 'loss_mask', 'loss_bbox'):
        assert losses[name].item() == pytest.approx(0, abs=1e-5), name
    entropy = torch.distributions.Bernoulli(head._centerness_targets(targets)).entropy()
    assert losses['loss_centerness'].item() == pytest.approx(entropy.mean().item(), rel=1e-4)


@pytest.mark.parametrize('inclusive', [False, True])
def test_losses_by_the_formulas(build_head, feats, ground_truth, inclusive):
    head = build_head(inclusive_boxes=inclusive, ray_mode='binned')
    outputs = head(feats)
    losses = head.loss_by_feat(*outputs, ground_truth, [{}] * 2)
    targets = head.get_targets(LEVELS, ground_truth)
    flat = head.flatten_outputs(*outputs)
    centerness = head._centerness_targets(targets)
    count = len(targets.positive)

    rays = flat.ray_preds[targets.positive]
    ratio = torch.maximum(rays, targets.rays).sum(1) / torch.minimum(rays, targets.rays).sum(1)
    expected = (ratio.log() * centerness).sum() / centerness.sum()
    torch.testing.assert_close(losses['loss_mask'], expected, rtol=1e-4, atol=0)

    edge = 1 if inclusive else 0
    pred, own = flat.bbox_preds[targets.positive], targets.distances
    smaller = torch.minimum(pred, own)
    overlap = (smaller[:, 0] + smaller[:, 2] + edge) * (smaller[:, 1] + smaller[:, 3] + edge)
    areas = sum((s[:, 0] + s[:, 2] + edge) * (s[:, 1] + s[:, 3] + edge) for s in (pred, own))
    iou = overlap / (areas - overlap)
    expected = (-iou.log() * centerness).sum() / centerness.sum()
    torch.testing.assert_close(losses['loss_bbox'], expected, rtol=1e-4, atol=0)

    logits = flat.centernesses[targets.positive]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, centerness)
    torch.testing.assert_close(losses['loss_centerness'], expected, rtol=1e-4, atol=0)

    probability = flat.cls_scores.sigmoid()
    wanted = torch.nn.functional.one_hot(targets.labels, 4)[:, :3]
    right = torch.where(wanted == 1, probability, 1 - probability)
    alpha = torch.where(wanted == 1, 0.25, 0.75)
    expected = (-alpha * (1 - right) ** 2 * right.log()).sum() / (count + 2)
    torch.testing.assert_close(losses['loss_cls'], expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize('options', ['default', 'no box', 'smooth-l1', 'iou v2', 'box centerness'])
@pytest.mark.parametrize('sync', [False, True])
def test_a_batch_without_instances_trains(build_head, feats, ground_truth, options, sync):
    head = build_head(**OPTIONS[options], sync_avg_factor=sync)
    losses = losses_of(head, feats, [ground_truth[0][:0]] * 2)
    assert losses['loss_cls'] > 0
    for name, value in losses.items():
        assert value.isfinite()
        assert name == 'loss_cls' or value.item() == 0
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        # otherwise DistributedDataParallel waits for it
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_one_picture_without_instances(build_head, feats, ground_truth):
    head = build_head()
    losses = losses_of(head, feats, [ground_truth[0][:0], ground_truth[1]])
    alone = losses_of(head, [feat[1:] for feat in feats], [ground_truth[1]])
    assert all(value.isfinite() for value in losses.values())
    for name in ('loss_mask', 'loss_bbox', 'loss_centerness'):
        torch.testing.assert_close(losses[name], alone[name], rtol=1e-4, atol=1e-5)


def test_averaging_over_one_process_changes_nothing(build_head, feats, ground_truth):
    plain, averaged = build_head(), build_head(sync_avg_factor=True)
    averaged.load_state_dict(plain.state_dict())
    expected = losses_of(plain, feats, ground_truth)
    for name, value in losses_of(averaged, feats, ground_truth).items():
        torch.testing.assert_close(value, expected[name])


def test_bfloat16_autocast(build_head, feats, ground_truth, metas):
    head = build_head()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        outputs = head(feats)
        losses = head.loss_by_feat(*outputs, ground_truth, metas)
        found = head.predict_by_feat(*outputs, metas, cfg=dict(score_thr=1e-3))
    cls_scores, bbox_preds, _, ray_preds = outputs
    assert cls_scores[0].dtype == torch.bfloat16
    assert {maps.dtype for maps in [*bbox_preds, *ray_preds]} == {torch.float32}
    assert all(value.isfinite() for value in losses.values())
    assert all(value.dtype == torch.float32 for value in losses.values())
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())
    assert all(len(instances) and instances.bboxes.isfinite().all() for instances in found)
    full = losses_of(head, feats, ground_truth)
    for name, value in losses.items():
        torch.testing.assert_close(value, full[name], rtol=0.05, atol=0.02)


def test_a_head_on_fixed_features_learns_the_rays(build_head, feats, ground_truth):
    head = build_head()
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    history = []
    for _ in range(60):
        losses = losses_of(head, feats, ground_truth)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
    assert history[0]['loss_mask'] > 1
    assert history[-1]['loss_mask'] < 0.15
    assert history[-1]['loss_bbox'] < 0.3
    assert history[-1]['loss_cls'] < 0.3 * history[0]['loss_cls']


@pytest.mark.gpu
@pytest.mark.parametrize(
    'name', ['default', 'dcn', 'no box', 'inclusive', 'averaged over processes']
)
def test_devices_agree(build_head, feats, ground_truth, metas, name):
    head = build_head(**OPTIONS[name])
    cfg = dict(head.test_cfg, score_thr=1e-3)
    expected = losses_of(head, feats, ground_truth)
    found = head.predict_by_feat(*head(feats), metas, cfg=cfg)
    head.cuda()
    on_device = [instances.to('cuda') for instances in ground_truth]
    cuda_feats = [feat.cuda() for feat in feats]
    losses = losses_of(head, cuda_feats, on_device)
    for key, value in losses.items():
        torch.testing.assert_close(value.cpu(), expected[key], rtol=1e-3, atol=1e-4)
    empty = losses_of(head, cuda_feats, [instances[:0] for instances in on_device])
    sum(empty.values()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
    for mine, theirs in zip(head.predict_by_feat(*head(cuda_feats), metas, cfg=cfg), found):
        assert abs(len(mine) - len(theirs)) <= 2
        assert mine.masks.to_ndarray().shape == (len(mine), 128, 128)
        torch.testing.assert_close(mine.scores[:3].cpu(), theirs.scores[:3], rtol=1e-3, atol=1e-4)
