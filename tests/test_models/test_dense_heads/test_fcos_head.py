"""FCOSHead: both flavours, targets' units, losses, normalisers, decoding, a whole detector."""

import math

import pytest
import torch
from mmdet.models.dense_heads import fcos_head as mmdet_fcos_head
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from polarseg.models.dense_heads import fcos_head as fcos_head_module
from polarseg.models.dense_heads import point_head as point_head_module
from polarseg.models.task_modules import box_centerness
from polarseg.registry import MODELS

LEVELS = [(16, 16), (8, 8), (4, 4)]
STRIDES = (8, 16, 32)
LOCATIONS = 16 * 16 + 8 * 8 + 4 * 4
META = dict(img_shape=(128, 128), ori_shape=(128, 128), scale_factor=(1.0, 1.0))
TEST_CFG = dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=50)

ORIGINAL = dict(
    norm_on_bbox=False,
    sync_avg_factor=False,
    cls_normalizer='fg_and_images',
    clip_boxes=True,
    inclusive_boxes=True,
    loss_bbox=dict(type='FCOSIoULoss', eps=1e-7),
)
FLAVOURS = {'original': ORIGINAL, 'CenterMask2': {}}
OPTIONS = FLAVOURS | {
    'no scale': dict(use_scale=False),
    'shared tower': dict(stacked_share_convs=2, stacked_convs=0),
    'all towers': dict(stacked_share_convs=1, stacked_convs=2),
    'no tower': dict(stacked_convs=0),
    'centerness on cls': dict(centerness_on_reg=False),
    'moving_fg': dict(cls_normalizer='moving_fg'),
    'all': dict(cls_normalizer='all'),
    'iou': dict(loss_bbox=dict(type='FCOSIoULoss', mode='iou')),
    'linear_iou': dict(loss_bbox=dict(type='FCOSIoULoss', mode='linear_iou')),
    'no center sampling': dict(
        assigner=dict(sampling_center=None, regress_ranges=[(-1, 32), (32, 64), (64, 1e8)])
    ),
    'no norm': dict(norm_cfg=None),
    'batch norm': dict(norm_cfg=dict(type='BN'), conv_bias='auto'),
    'norm per level': dict(norm_cfg=dict(type='BN'), norm_per_level=True, stacked_share_convs=1),
    'deformable': dict(use_deformable=True, stacked_convs=2),
    'iou quality': dict(box_quality='iou'),
}


def head_config(**options):
    return (
        dict(
            type='polarseg.FCOSHead',
            num_classes=3,
            in_channels=32,
            feat_channels=32,
            stacked_convs=1,
            strides=STRIDES,
            assigner=dict(regress_ranges=[(-1, 32), (32, 64), (64, 1e8)]),
            test_cfg=TEST_CFG,
        )
        | options
    )


@pytest.fixture
def build_head():
    def build(**options):
        head = MODELS.build(head_config(**options))
        head.init_weights()
        # so that ReLU distances do not start dead
        torch.nn.init.constant_(head.conv_reg.bias, 1.0)
        return head

    return build


def losses_of(head, feats, ground_truth):
    return head.loss_by_feat(*head(feats), ground_truth, [{}] * len(ground_truth))


@pytest.mark.parametrize('name', OPTIONS)
def test_every_option_trains_and_predicts(build_head, feats, ground_truth, metas, name):
    head = build_head(**OPTIONS[name])
    losses = losses_of(head, feats, ground_truth)
    quality = 'loss_iou' if name == 'iou quality' else 'loss_centerness'
    assert set(losses) == {'loss_cls', 'loss_bbox', quality}
    assert all(value.isfinite() and value > 0 for value in losses.values())
    sum(losses.values()).backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any(), parameter_name

    # low enough for an untrained head
    found = head.predict_by_feat(*head(feats), metas, cfg=dict(TEST_CFG, score_thr=1e-3))
    for instances in found:
        assert set(instances.keys()) == {'bboxes', 'scores', 'labels'}
        assert 0 < len(instances) <= 50
        assert instances.bboxes.dtype == torch.float32
        assert not instances.bboxes.requires_grad
        assert not instances.scores.requires_grad
        assert (instances.scores.diff() <= 0).all()
        assert 0 <= instances.labels.min() <= instances.labels.max() < 3


def test_parameter_names(build_head):
    names = set(build_head(stacked_share_convs=1).state_dict())
    towers = {
        f'{tower}_convs.0.{part}.{kind}'
        for tower in ('share', 'cls', 'reg')
        for part in ('conv', 'gn')
        for kind in ('weight', 'bias')
    }
    predictors = {
        f'conv_{part}.{kind}'
        for part in ('cls', 'reg', 'centerness')
        for kind in ('weight', 'bias')
    }
    assert names == towers | predictors | {f'scales.{level}.scale' for level in range(3)}
    assert not [name for name in build_head(use_scale=False).state_dict() if 'scale' in name]
    assert 'moving_fg' in build_head(cls_normalizer='moving_fg').state_dict()


def test_initial_weights():
    head = MODELS.build(head_config())
    head.init_weights()
    assert head.conv_cls.bias.tolist() == pytest.approx([-math.log(99)] * 3)
    assert not head.conv_reg.bias.any()
    for layer in (head.conv_cls, head.conv_reg, head.conv_centerness, head.reg_convs[0].conv):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.15)


def test_unknown_options(build_head):
    with pytest.raises(ValueError, match=r"cls_normalizer.*fg_and_images.*'positives'"):
        build_head(cls_normalizer='positives')
    with pytest.raises(ValueError, match=r"box_quality.*ctrness.*'giou'"):
        build_head(box_quality='giou')


def test_the_last_convolution_of_class_and_box_tower_is_deformable(build_head):
    head = build_head(use_deformable=True, stacked_convs=2, stacked_share_convs=1)
    layers = {name: type(module).__name__ for name, module in head.named_modules()}
    deformable = [name for name, kind in layers.items() if kind == 'ModulatedDeformConv2dPack']
    assert deformable == ['cls_convs.1.conv', 'reg_convs.1.conv']
    for tower in (head.cls_convs, head.reg_convs):
        # sampling starts at the regular grid
        assert not tower[1].conv.conv_offset.weight.any()
        assert not tower[1].conv.conv_offset.bias.any()


def test_each_level_has_statistics_of_its_own(build_head, feats):
    head = build_head(norm_cfg=dict(type='BN'), norm_per_level=True)
    assert 'cls_convs.0.norms.2.running_mean' in head.state_dict()
    assert head.state_dict()['cls_convs.0.conv.weight'].shape == (32, 32, 3, 3)
    head([feat * 10**level for level, feat in enumerate(feats)])
    spreads = [norm.running_var.mean().item() for norm in head.reg_convs[0].norms]
    # 0.9 of the initial 1 is left of each
    moved = [spread - 0.9 for spread in spreads]
    assert moved[1] > 50 * moved[0] > 0
    assert moved[2] > 50 * moved[1]


def test_losses_of_box_quality_iou(build_head, feats, ground_truth):
    head = build_head(box_quality='iou')
    _, bbox_preds, qualities = head(feats)
    found = losses_of(head, feats, ground_truth)
    targets = head.get_targets(LEVELS, ground_truth)
    rows = [level.permute(0, 2, 3, 1).reshape(2, -1, level.shape[1]) for level in bbox_preds]
    box = torch.cat(rows, dim=1).reshape(-1, 4)[targets.positive]
    rows = [level.permute(0, 2, 3, 1).reshape(2, -1) for level in qualities]
    quality = torch.cat(rows, dim=1).reshape(-1)[targets.positive]
    target = targets.distances / targets.strides[:, None]

    def area(sides):
        return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])

    overlap = area(box.minimum(target))
    union = area(box) + area(target) - overlap
    hull = area(box.maximum(target))
    iou = (overlap + 1) / (union + 1)
    giou_loss = (1 - iou + (hull - union) / hull).mean()
    torch.testing.assert_close(found['loss_bbox'], giou_loss)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(quality, iou.detach())
    torch.testing.assert_close(found['loss_iou'], expected)
    # the target is not a way around the box loss
    box_grad = torch.autograd.grad(found['loss_iou'], bbox_preds, allow_unused=True)
    assert box_grad == (None, None, None)


# -- outputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize('flavour', FLAVOURS)
def test_activations(build_head, feats, flavour):
    head = build_head(**FLAVOURS[flavour])
    head.conv_reg.weight.data.mul_(100)
    for level, scale in enumerate(head.scales):
        scale.scale.data.fill_(level - 1.0)
    cls_scores, bbox_preds, centernesses = head(feats)
    for level, size in enumerate(LEVELS):
        tower = head.reg_convs(feats[level])
        logits = head.conv_reg(tower) * (level - 1.0)
        expected = logits.exp() if flavour == 'original' else logits.clamp(min=0)
        torch.testing.assert_close(bbox_preds[level], expected)
        torch.testing.assert_close(centernesses[level], head.conv_centerness(tower))
        torch.testing.assert_close(cls_scores[level], head.conv_cls(head.cls_convs(feats[level])))
        assert bbox_preds[level].shape == (2, 4, *size)


def test_centerness_on_the_class_tower(build_head, feats):
    head = build_head(centerness_on_reg=False)
    expected = head.conv_centerness(head.cls_convs(feats[0]))
    torch.testing.assert_close(head(feats)[2][0], expected)


def test_the_shared_tower_stands_before_both(build_head, feats):
    head = build_head(stacked_share_convs=2)
    shared = head.share_convs(feats[1])
    cls_scores, bbox_preds, _ = head(feats)
    torch.testing.assert_close(cls_scores[1], head.conv_cls(head.cls_convs(shared)))
    torch.testing.assert_close(bbox_preds[1], head.conv_reg(head.reg_convs(shared)).relu())


# -- losses ---------------------------------------------------------------------------------------


def rows_of(levels):
    """Maps of all levels as rows, picture after picture."""
    pictures = [
        torch.cat([level[picture].flatten(1).T for level in levels])
        for picture in range(len(levels[0]))
    ]
    return torch.cat(pictures)


def focal(logits, labels):
    probability = logits.sigmoid()
    wanted = torch.nn.functional.one_hot(labels, 4)[:, :3] == 1
    right = torch.where(wanted, probability, 1 - probability)
    return (-torch.where(wanted, 0.25, 0.75) * (1 - right) ** 2 * right.log()).sum()


@pytest.mark.parametrize('flavour', FLAVOURS)
def test_losses_by_the_formulas(build_head, feats, ground_truth, flavour):
    head = build_head(**FLAVOURS[flavour])
    outputs = head(feats)
    losses = head.loss_by_feat(*outputs, ground_truth, [{}] * 2)
    targets = head.get_targets(LEVELS, ground_truth)
    cls_rows, bbox_rows, ctr_rows = map(rows_of, outputs)
    positive, centerness = targets.positive, box_centerness(targets.distances)
    count = len(positive)
    original = flavour == 'original'

    expected = focal(cls_rows, targets.labels) / (count + 2 if original else count)
    torch.testing.assert_close(losses['loss_cls'], expected, rtol=1e-4, atol=0)

    pred, own = bbox_rows[positive], targets.distances
    if not original:
        own = own / targets.strides[:, None]
        assert len(targets.strides.unique()) > 1
    (pl, pt, pr, pb), (ol, ot, o_r, ob) = pred.unbind(1), own.unbind(1)
    inner = (torch.min(pl, ol) + torch.min(pr, o_r)) * (torch.min(pt, ot) + torch.min(pb, ob))
    outer = (torch.max(pl, ol) + torch.max(pr, o_r)) * (torch.max(pt, ot) + torch.max(pb, ob))
    union = (pl + pr) * (pt + pb) + (ol + o_r) * (ot + ob) - inner
    giou = (inner + 1) / (union + 1) - (outer - union) / outer
    expected = ((1 - giou) * centerness).sum() / centerness.sum()
    torch.testing.assert_close(losses['loss_bbox'], expected, rtol=1e-4, atol=0)

    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        ctr_rows[positive, 0], centerness
    )
    torch.testing.assert_close(losses['loss_centerness'], expected, rtol=1e-4, atol=0)


def test_normalisers_of_several_processes(build_head, feats, ground_truth, monkeypatch):
    """The mean over two processes, of which the other has three times as much of everything."""
    monkeypatch.setattr(point_head_module, 'reduce_mean', lambda value: value * 2)
    for name, factors in {
        'original': (1, 1, 1),
        'CenterMask2': (2, 2, 2),
        'all': (2, 2, 2),
    }.items():
        head = build_head(**OPTIONS[name])
        losses = losses_of(head, feats, ground_truth)
        head.sync_avg_factor = False
        local = losses_of(head, feats, ground_truth)
        for key, factor in zip(('loss_cls', 'loss_bbox', 'loss_centerness'), factors):
            torch.testing.assert_close(losses[key] * factor, local[key], rtol=1e-5, atol=0)


def test_a_process_without_positives_is_divided_by_those_of_the_others(
    build_head, feats, ground_truth, monkeypatch
):
    monkeypatch.setattr(point_head_module, 'reduce_mean', lambda value: value + 20)
    head = build_head()
    empty = [ground_truth[0][:0]] * 2
    losses = losses_of(head, feats, empty)
    labels = torch.full((2 * LOCATIONS,), 3)
    expected = focal(rows_of(head(feats)[0]), labels) / 20
    torch.testing.assert_close(losses['loss_cls'], expected, rtol=1e-4, atol=0)
    assert losses['loss_bbox'] == losses['loss_centerness'] == 0


@pytest.mark.parametrize('name', ['fg', 'fg_and_images', 'all'])
def test_class_normalisers(build_head, feats, ground_truth, name):
    head = build_head(cls_normalizer=name)
    targets = head.get_targets(LEVELS, ground_truth)
    count = len(targets.positive)
    divisor = {'fg': count, 'fg_and_images': count + 2, 'all': 2 * LOCATIONS}[name]
    expected = focal(rows_of(head(feats)[0]), targets.labels) / divisor
    loss = losses_of(head, feats, ground_truth)['loss_cls']
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)


def test_the_moving_normaliser_moves_in_training_only(build_head, feats, ground_truth):
    head = build_head(cls_normalizer='moving_fg')
    targets = head.get_targets(LEVELS, ground_truth)
    moving = 100.0
    for _ in range(3):
        loss = losses_of(head, feats, ground_truth)['loss_cls']
        moving = 0.9 * moving + 0.1 * len(targets.positive)
        assert head.moving_fg.item() == pytest.approx(moving, rel=1e-5)
        expected = focal(rows_of(head(feats)[0]), targets.labels) / moving
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)
    head.eval()
    losses_of(head, feats, ground_truth)
    assert head.moving_fg.item() == pytest.approx(moving, rel=1e-5)


@pytest.mark.parametrize('name', OPTIONS)
def test_a_batch_without_instances_trains(build_head, feats, ground_truth, name):
    head = build_head(**OPTIONS[name])
    losses = losses_of(head, feats, [ground_truth[0][:0]] * 2)
    assert losses['loss_cls'] > 0
    assert all(value == 0 for key, value in losses.items() if key != 'loss_cls')
    sum(losses.values()).backward()
    for parameter_name, parameter in head.named_parameters():
        # otherwise DistributedDataParallel waits for it
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


def test_one_picture_without_instances(build_head, feats, ground_truth):
    head = build_head()
    losses = losses_of(head, feats, [ground_truth[0][:0], ground_truth[1]])
    alone = losses_of(head, [feat[1:] for feat in feats], [ground_truth[1]])
    for name in ('loss_bbox', 'loss_centerness'):
        torch.testing.assert_close(losses[name], alone[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('flavour', FLAVOURS)
def test_bfloat16_autocast(build_head, feats, ground_truth, metas, flavour):
    head = build_head(**FLAVOURS[flavour])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        outputs = head(feats)
        losses = head.loss_by_feat(*outputs, ground_truth, metas)
        found = head.predict_by_feat(*outputs, metas, cfg=dict(score_thr=1e-3))
    assert outputs[0][0].dtype == torch.bfloat16
    assert {maps.dtype for maps in outputs[1]} == {torch.float32}
    assert all(value.dtype == torch.float32 for value in losses.values())
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())
    assert all(len(instances) and instances.bboxes.isfinite().all() for instances in found)
    full = losses_of(head, feats, ground_truth)
    for name, value in losses.items():
        torch.testing.assert_close(value, full[name], rtol=0.05, atol=0.02)


# -- decoding -------------------------------------------------------------------------------------


def silent_maps(pictures=1):
    """Outputs that find nothing."""
    return (
        [torch.full((pictures, 3, *size), -20.0) for size in LEVELS],
        [torch.ones(pictures, 4, *size) for size in LEVELS],
        [torch.zeros(pictures, 1, *size) for size in LEVELS],
    )


def place(maps, level, row, column, label, sides, logit=3.0, picture=0):
    """Let one location find an object."""
    maps[0][level][picture, label, row, column] = logit
    maps[1][level][picture, :, row, column] = torch.tensor(sides, dtype=torch.float32)


def predict(head, maps, metas=(META,), **options):
    return head.predict_by_feat(*maps, list(metas), **options)


@pytest.mark.parametrize('flavour', FLAVOURS)
@pytest.mark.parametrize(('level', 'stride'), [(0, 8), (1, 16), (2, 32)])
def test_boxes_in_pixels_or_strides(build_head, level, stride, flavour):
    maps = silent_maps()
    unit = 1 if flavour == 'original' else stride
    place(maps, level, 1, 2, 1, [side / unit for side in (10, 6, 12, 8)])
    (found,) = predict(build_head(**FLAVOURS[flavour]), maps)
    x, y = 2 * stride + stride // 2, stride + stride // 2
    assert found.bboxes.tolist() == [[x - 10, y - 6, x + 12, y + 8]]
    assert found.labels.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([torch.tensor(3.0).sigmoid().item() / 2])


@pytest.mark.parametrize(
    ('options', 'box'),
    [
        (dict(), [-464, -472, 536, 528]),
        (dict(clip_boxes=True), [0, 0, 80, 60]),
        (dict(clip_boxes=True, inclusive_boxes=True), [0, 0, 79, 59]),
    ],
)
def test_clipping_to_the_unpadded_picture(build_head, options, box):
    maps = silent_maps()
    place(maps, 0, 3, 4, 0, (500, 500, 500, 500))
    head = build_head(norm_on_bbox=False, **options)
    (found,) = predict(head, maps, [dict(META, img_shape=(60, 80))])
    assert found.bboxes.tolist() == [box]


def test_clipping_comes_before_nms(build_head):
    """Two boxes that differ only outside of the picture."""
    maps = silent_maps()
    place(maps, 2, 0, 0, 0, (10, 10, 200, 40))
    place(maps, 2, 0, 1, 0, (42, 10, 900, 40), logit=2.0)
    assert len(predict(build_head(norm_on_bbox=False), maps)[0]) == 2
    assert len(predict(build_head(norm_on_bbox=False, clip_boxes=True), maps)[0]) == 1


def test_the_box_convention_of_nms(build_head):
    """IoU 9 x 10 of 11 x 10 without the last pixel, 10 x 11 of 12 x 11 with it: 0.818, 0.833."""
    maps = silent_maps()
    place(maps, 0, 4, 4, 0, (5, 5, 5, 5))
    place(maps, 0, 4, 5, 0, (12, 5, -2, 5), logit=2.0)
    cfg = dict(TEST_CFG, nms=dict(type='nms', iou_threshold=0.825))
    plain, inclusive = (
        predict(build_head(norm_on_bbox=False, inclusive_boxes=flag), maps, cfg=cfg)[0]
        for flag in (False, True)
    )
    assert (len(plain), len(inclusive)) == (2, 1)


def test_rescaling_to_the_original_picture(build_head):
    head = build_head()
    maps = silent_maps()
    place(maps, 0, 7, 7, 2, (2, 3, 2, 3))
    place(maps, 1, 1, 5, 0, (1, 1, 1, 1))
    meta = dict(META, img_shape=(120, 100), ori_shape=(80, 50), scale_factor=(2.0, 1.5))
    (raw,), (scaled,) = (predict(head, maps, [meta], rescale=flag) for flag in (False, True))
    assert len(raw) == len(scaled) == 2
    torch.testing.assert_close(scaled.bboxes, raw.bboxes / torch.tensor([2.0, 1.5, 2.0, 1.5]))


def test_one_location_may_find_several_classes(build_head):
    maps = silent_maps()
    for label, logit in enumerate((1.0, 3.0, 2.0)):
        place(maps, 0, 4, 4, label, (1, 1, 1, 1), logit)
    (found,) = predict(build_head(), maps)
    assert found.labels.tolist() == [1, 2, 0]
    assert (found.bboxes == found.bboxes[0]).all()


def test_pictures_of_a_batch_do_not_mix_and_may_be_empty(build_head):
    maps = silent_maps(pictures=3)
    place(maps, 0, 4, 4, 0, (1, 1, 1, 1), picture=0)
    place(maps, 1, 5, 5, 2, (1, 1, 1, 1), picture=2)
    found = predict(build_head(), maps, [META] * 3, rescale=True)
    assert [instances.labels.tolist() for instances in found] == [[0], [], [2]]
    assert found[1].bboxes.shape == (0, 4)
    assert found[1].scores.shape == (0,)


@pytest.mark.parametrize('sqrt_scores', [False, True])
@pytest.mark.parametrize('nms_pre', [5, 1000])
def test_detections_against_plain_python(build_head, nms_pre, sqrt_scores):
    """The whole path with random maps: threshold, top pairs of each level, NMS, cut."""
    maps = tuple([torch.randn(1, count, *size) for size in LEVELS] for count in (3, 4, 1))
    maps = (maps[0], [sides.abs() * 3 for sides in maps[1]], maps[2])
    cfg = dict(TEST_CFG, score_thr=0.4, nms_pre=nms_pre, sqrt_scores=sqrt_scores, max_per_img=12)
    (found,) = predict(build_head(), maps, cfg=cfg)

    candidates = []
    for stride, cls_scores, sides, centerness in zip(STRIDES, *maps):
        own = []
        for label, row, column in (cls_scores[0].sigmoid() > 0.4).nonzero().tolist():
            score = cls_scores[0, label, row, column].sigmoid()
            score = (score * centerness[0, 0, row, column].sigmoid()).item()
            x, y = column * stride + stride // 2, row * stride + stride // 2
            left, top, right, bottom = (sides[0, :, row, column] * stride).tolist()
            own.append((score, label, (x - left, y - top, x + right, y + bottom)))
        candidates += sorted(own, reverse=True)[:nms_pre]
    kept = []
    for score, label, box in sorted(candidates, reverse=True):
        same = [other for _, other_label, other in kept if other_label == label]
        if all(iou(box, other) <= 0.6 for other in same):
            kept.append((score**0.5 if sqrt_scores else score, label, box))
    kept = kept[:12]
    assert found.labels.tolist() == [label for _, label, _ in kept]
    torch.testing.assert_close(found.scores, torch.tensor([score for score, _, _ in kept]))
    torch.testing.assert_close(found.bboxes, torch.tensor([box for _, _, box in kept]))


def iou(first, second):
    width = max(min(first[2], second[2]) - max(first[0], second[0]), 0)
    height = max(min(first[3], second[3]) - max(first[1], second[1]), 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


def test_targets_decode_to_the_boxes(build_head, ground_truth):
    """What the loss asks for is what prediction understands."""
    for options in FLAVOURS.values():
        head = build_head(**options, loss_centerness=None)
        targets = head.get_targets(LEVELS, ground_truth[:1])
        sides = torch.ones(LOCATIONS, 4)
        unit = targets.strides[:, None] if head.norm_on_bbox else 1.0
        sides[targets.positive] = targets.distances / unit
        logits = torch.full((LOCATIONS, 3), -20.0)
        logits[targets.positive, targets.labels[targets.positive]] = 20.0

        def maps(rows):
            levels = rows.split([256, 64, 16])
            return [level.T.reshape(1, -1, *size) for level, size in zip(levels, LEVELS)]

        outputs = [maps(rows) for rows in (logits, sides, torch.zeros(LOCATIONS, 1))]
        losses = head.loss_by_feat(*outputs, ground_truth[:1], [META])
        assert losses['loss_cls'] == pytest.approx(0, abs=1e-5)
        assert losses['loss_bbox'] == pytest.approx(0, abs=1e-5)
        (found,) = predict(head, outputs)
        order = found.labels.argsort()
        by_label = ground_truth[0].bboxes[ground_truth[0].labels.argsort()]
        torch.testing.assert_close(found.bboxes[order], by_label)


# -- in a detector --------------------------------------------------------------------------------


@pytest.fixture
def build_detector():
    """mmdet's FCOS with ResNet-18 and our head."""

    def build(**options):
        model = MODELS.build(
            dict(
                type='mmdet.FCOS',
                data_preprocessor=dict(
                    type='mmdet.DetDataPreprocessor',
                    mean=[127.5] * 3,
                    std=[64.0] * 3,
                    pad_size_divisor=32,
                ),
                backbone=dict(
                    type='mmdet.ResNet', depth=18, base_channels=16, out_indices=(1, 2, 3)
                ),
                neck=dict(type='mmdet.FPN', in_channels=[32, 64, 128], out_channels=32, num_outs=3),
                bbox_head=head_config(**options),
                test_cfg=TEST_CFG,
            )
        )
        model.init_weights()
        return model

    return build


@pytest.fixture
def batch(ground_truth):
    """One picture: bright ellipses, as large as their boxes, in the colour of their class."""
    instances = ground_truth[0]
    grid = torch.stack(torch.meshgrid(torch.arange(128), torch.arange(128), indexing='xy'), dim=-1)
    picture = torch.full((3, 128, 128), 40, dtype=torch.uint8)
    for box, label in zip(instances.bboxes, instances.labels):
        center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        picture[label, (((grid - center) / half) ** 2).sum(-1) < 1] = 230
    sample = DetDataSample(metainfo=dict(META, img_id=0))
    sample.gt_instances = InstanceData(bboxes=instances.bboxes, labels=instances.labels)
    return dict(inputs=[picture], data_samples=[sample])


@pytest.mark.parametrize('flavour', FLAVOURS)
def test_a_detector_learns_one_picture(build_detector, batch, flavour):
    model = build_detector(**FLAVOURS[flavour])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    truth = batch['data_samples'][0].gt_instances
    model.train()
    for _ in range(60):
        data = model.data_preprocessor(batch, training=True)
        losses = model(**data, mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    model.eval()
    (found,) = model.test_step(batch)
    best = found.pred_instances[: len(truth)]
    assert sorted(best.labels.tolist()) == sorted(truth.labels.tolist())
    for box, label in zip(truth.bboxes, truth.labels):
        own = best.bboxes[best.labels == label][0]
        assert iou(own.tolist(), box.tolist()) > 0.7


def test_losses_and_proposals_of_one_pass(build_head, feats, ground_truth):
    """As a second stage asks for them: the proposals carry no gradient."""
    head = build_head()
    samples = []
    for instances in ground_truth:
        sample = DetDataSample(metainfo=META)
        sample.gt_instances = instances
        samples.append(sample)
    cfg = dict(TEST_CFG, score_thr=1e-3, max_per_img=100)
    feats = [feat.requires_grad_() for feat in feats]
    losses, proposals = head.loss_and_predict(tuple(feats), samples, proposal_cfg=cfg)
    expected = losses_of(head, feats, ground_truth)
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name])
        assert value.requires_grad
    assert [len(instances) for instances in proposals] == [100, 100]
    again = head.predict(tuple(feats), samples)
    for instances, others in zip(proposals, again):
        assert not instances.bboxes.requires_grad
        assert not instances.scores.requires_grad
        assert len(others) <= 50


def test_our_name_does_not_hide_mmdets():
    assert MODELS.get('FCOSHead') is fcos_head_module.FCOSHead
    assert MODELS.get('mmdet.FCOSHead') is mmdet_fcos_head.FCOSHead


@pytest.mark.gpu
@pytest.mark.parametrize('flavour', FLAVOURS)
def test_devices_agree(build_head, feats, ground_truth, metas, flavour):
    head = build_head(**FLAVOURS[flavour])
    cfg = dict(TEST_CFG, score_thr=1e-3)
    expected = losses_of(head, feats, ground_truth)
    found = head.predict_by_feat(*head(feats), metas, cfg=cfg)
    head.cuda()
    cuda_feats = [feat.cuda() for feat in feats]
    losses = losses_of(head, cuda_feats, [instances.to('cuda') for instances in ground_truth])
    for key, value in losses.items():
        torch.testing.assert_close(value.cpu(), expected[key], rtol=1e-3, atol=1e-4)
    for mine, theirs in zip(head.predict_by_feat(*head(cuda_feats), metas, cfg=cfg), found):
        assert abs(len(mine) - len(theirs)) <= 2
        torch.testing.assert_close(mine.scores[:3].cpu(), theirs.scores[:3], rtol=1e-3, atol=1e-4)
