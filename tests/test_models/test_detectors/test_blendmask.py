"""BlendMask whole: it trains, predicts, and copes with nothing."""

import pytest
import torch
from ellipses import SHAPES, SIZE, batch_of, instances_of
from pycocotools import mask as coco_mask
from small_blendmask import BASES, LOSSES, batch_with_maps, build

from polarseg.registry import MODELS
from polarseg.structures import BoxMaskInstances


def losses_of(model, ground_truth):
    batch = model.data_preprocessor(batch_with_maps(ground_truth), training=True)
    return model.loss(batch['inputs'], batch['data_samples'])


@pytest.fixture(params=[True, False], ids=['polygons', 'bitmaps'])
def ground_truth(request):
    return [instances_of(shapes, request.param) for shapes in SHAPES]


@pytest.mark.parametrize('bases', BASES)
def test_loss_and_backward(bases, ground_truth):
    model = build(bases).train()
    losses = losses_of(model, ground_truth)
    assert set(losses) == LOSSES
    assert all(value.item() > 0 for value in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_without_the_auxiliary_head_no_label_maps_are_needed(ground_truth):
    model = build(num_classes=None).train()
    batch = model.data_preprocessor(batch_of(ground_truth), training=True)
    losses = model.loss(batch['inputs'], batch['data_samples'])
    assert set(losses) == LOSSES - {'loss_basis_sem'}


def test_forgotten_label_maps(ground_truth):
    model = build().train()
    batch = model.data_preprocessor(batch_of(ground_truth), training=True)
    with pytest.raises(ValueError, match='LoadThingSemantic'):
        model.loss(batch['inputs'], batch['data_samples'])


@pytest.mark.parametrize('empty', [(0,), (1,), (0, 1)])
def test_pictures_without_instances(ground_truth, empty):
    for number in empty:
        ground_truth[number] = ground_truth[number][:0]
    model = build().train()
    losses = losses_of(model, ground_truth)
    assert all(value.isfinite() for value in losses.values())
    if len(empty) == 2:
        nothing = {name for name, value in losses.items() if value.item() == 0}
        assert nothing == {'loss_bbox', 'loss_centerness', 'loss_mask'}
    else:
        assert losses['loss_mask'].item() > 0
    sum(losses.values()).backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


def test_mixed_batches_count_ground_truth_through(ground_truth):
    """A picture without instances in front changes no mask loss of the others."""
    model = build().train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    empty = ground_truth[0][:0]
    with torch.no_grad():
        alone = losses_of(model, ground_truth)
        # the same random pictures at their places
        mixed = losses_of(model, [*ground_truth, empty])
    for name in ('loss_bbox', 'loss_centerness', 'loss_mask'):
        torch.testing.assert_close(mixed[name], alone[name], rtol=1e-4, atol=1e-5)
    batch = model.data_preprocessor(batch_with_maps([*ground_truth, empty]), training=True)
    order = [2, 0, 1]
    with torch.no_grad():
        moved = model.loss(batch['inputs'][order], [batch['data_samples'][i] for i in order])
    for name, value in mixed.items():
        torch.testing.assert_close(moved[name], value, rtol=1e-4, atol=1e-5)


def test_nothing_found(ground_truth):
    model = build(score_thr=0.99).eval()
    with torch.no_grad():
        found = model.test_step(batch_of(ground_truth))[0].pred_instances
    assert len(found) == len(found.masks) == 0
    assert found.masks.to_rle() == []


def test_a_batch_gives_each_picture_what_it_gets_alone(ground_truth):
    model = build().eval()
    batch = batch_of(ground_truth, sizes=[(100, 128), (128, 90)])
    with torch.no_grad():
        together = model.test_step(dict(batch))
        alone = [
            model.test_step(dict(inputs=[picture], data_samples=[sample]))[0]
            for picture, sample in zip(batch['inputs'], batch['data_samples'])
        ]
    for mine, own in zip(together, alone):
        mine, own = mine.pred_instances, own.pred_instances
        assert len(mine) > 0
        assert set(mine.keys()) == {'bboxes', 'scores', 'labels', 'masks'}
        assert isinstance(mine.masks, BoxMaskInstances)
        for key in ('bboxes', 'scores', 'labels'):
            torch.testing.assert_close(mine[key], own[key], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            mine.masks.probabilities, own.masks.probabilities, rtol=1e-4, atol=1e-4
        )


def test_results_are_in_the_pixels_of_the_original(ground_truth):
    model = build().eval()
    batch = batch_of(ground_truth[:1])
    batch['data_samples'][0].set_metainfo(dict(ori_shape=(64, 256), scale_factor=(0.5, 2.0)))
    batch = model.data_preprocessor(batch)
    with torch.no_grad():
        scaled, raw = (
            model.predict(batch['inputs'], batch['data_samples'], rescale)[0].pred_instances
            for rescale in (True, False)
        )
    assert (scaled.masks.height, scaled.masks.width) == (64, 256)
    assert coco_mask.decode(scaled.masks.to_rle()).shape == (64, 256, len(scaled))
    assert len(scaled) == len(raw) > 0
    # boxes are clipped to either picture, which is the same after scaling
    expected = raw.bboxes / torch.tensor([0.5, 2.0, 0.5, 2.0])
    torch.testing.assert_close(scaled.bboxes, expected, rtol=1e-4, atol=1e-4)


def test_tensor_mode_gives_the_maps(ground_truth):
    model = build().eval()
    batch = model.data_preprocessor(batch_of(ground_truth))
    with torch.no_grad():
        maps, bases = model(batch['inputs'], batch['data_samples'], mode='tensor')
    assert [len(levels) for levels in maps] == [3] * 4
    assert bases.shape == (2, 2, SIZE // 4, SIZE // 4)


def test_bases_of_the_picture_without_padding(ground_truth):
    model = build().eval()
    batch = batch_of(ground_truth, sizes=[(100, 128), (127, 90)])
    with torch.no_grad():
        assert 'pred_bases' not in model.test_step(dict(batch))[0]
        model.return_bases = True
        results = model.test_step(dict(batch))
    assert [sample.pred_bases.shape for sample in results] == [(2, 25, 32), (2, 32, 23)]
    assert [sample.pred_basis_sem.shape for sample in results] == [(4, 13, 16), (4, 16, 12)]


def test_mixed_precision(ground_truth):
    model = build().train()
    with torch.autocast('cpu', torch.bfloat16):
        losses = losses_of(model, ground_truth)
    sum(losses.values()).backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(gradient.isfinite().all() for gradient in gradients)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        found = model.eval().test_step(batch_of(ground_truth))[0].pred_instances
    assert len(found) > 0
    assert found.masks.to_ndarray().shape == (len(found), SIZE, SIZE)


def test_inclusive_boxes_are_refused():
    with pytest.raises(ValueError, match=r'bbox_head\.inclusive_boxes must be False'):
        build(inclusive_boxes=True)


def test_parts_that_do_not_fit():
    with pytest.raises(ValueError, match=r'basis_module\.num_bases .* 2, got 3'):
        build(num_bases=3)
    with pytest.raises(ValueError, match=r'top_channels .* 98, got 99'):
        build(top_channels=99)
    with pytest.raises(ValueError, match=r"bases_from must be one of .*, got 'head'"):
        MODELS.build(
            dict(
                type='BlendMask',
                backbone=dict(type='ResNet', depth=18),
                neck=dict(type='FPN', in_channels=[64] * 4, out_channels=8, num_outs=4),
                bbox_head=dict(
                    type='BlendMaskHead', num_classes=1, in_channels=8, feat_channels=32
                ),
                basis_module=dict(type='ProtoNet'),
                blender=dict(type='Blender'),
                bases_from='head',
            )
        )


@pytest.mark.gpu
def test_devices_agree(ground_truth):
    model = build().train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    expected = losses_of(model, ground_truth)
    model.cuda()
    losses = losses_of(model, ground_truth)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name].cpu(), value, rtol=1e-3, atol=1e-4)
    sum(losses.values()).backward()
    model.eval()
    with torch.no_grad():
        on_gpu = model.test_step(batch_of(ground_truth))
        on_cpu = model.cpu().test_step(batch_of(ground_truth))
    for mine, own in zip(on_gpu, on_cpu):
        assert len(mine.pred_instances) == len(own.pred_instances)
        torch.testing.assert_close(
            mine.pred_instances.scores.cpu(), own.pred_instances.scores, rtol=1e-3, atol=1e-4
        )
