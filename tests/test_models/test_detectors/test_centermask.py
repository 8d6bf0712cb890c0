"""CenterMask whole: both flavours train, predict, and cope with nothing."""

import pytest
import torch
from ellipses import SHAPES, SIZE, batch_of, instances_of
from small_centermask import FLAVOURS, build

from polarseg.structures import BoxMaskInstances


def losses_of(model, ground_truth):
    batch = model.data_preprocessor(batch_of(ground_truth), training=True)
    return model.loss(batch['inputs'], batch['data_samples'])


@pytest.fixture(params=sorted(FLAVOURS))
def flavour(request):
    return request.param


@pytest.fixture(params=[True, False], ids=['polygons', 'bitmaps'])
def ground_truth(request):
    return [instances_of(shapes, request.param) for shapes in SHAPES]


def test_loss_and_backward(flavour, ground_truth):
    model = build(flavour).train()
    losses = losses_of(model, ground_truth)
    assert set(losses) == {
        'loss_cls',
        'loss_bbox',
        'loss_centerness',
        'loss_mask',
        'loss_mask_iou',
    }
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_without_mask_scoring(ground_truth):
    model = build(mask_scoring=False)
    assert 'loss_mask_iou' not in losses_of(model.train(), ground_truth)
    with torch.no_grad():
        found = model.eval().test_step(batch_of(ground_truth))[0].pred_instances
    assert len(found) > 0
    assert 'mask_scores' not in found


@pytest.mark.parametrize('score_thr', [1e-3, 0.99], ids=['proposals', 'no proposals'])
@pytest.mark.parametrize('empty', [(), (0,), (0, 1)], ids=['none empty', 'one empty', 'all empty'])
def test_pictures_without_instances_or_proposals(flavour, ground_truth, empty, score_thr):
    for number in empty:
        ground_truth[number] = ground_truth[number][:0]
    model = build(flavour, score_thr=score_thr).train()
    losses = losses_of(model, ground_truth)
    assert all(value.isfinite() for value in losses.values())
    if len(empty) == 2:
        assert all(losses[name].item() == 0 for name in losses if name != 'loss_cls')
    else:
        # the ground truth is among the proposals
        assert losses['loss_mask'].item() > 0
    sum(losses.values()).backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


def test_nothing_found(flavour, ground_truth):
    model = build(flavour, score_thr=0.99).eval()
    with torch.no_grad():
        found = model.test_step(batch_of(ground_truth))[0].pred_instances
    assert len(found) == len(found.masks) == len(found.mask_scores) == 0
    assert found.masks.to_rle() == []


def test_a_batch_gives_each_picture_what_it_gets_alone(flavour, ground_truth):
    model = build(flavour).eval()
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
        assert isinstance(mine.masks, BoxMaskInstances)
        for key in ('bboxes', 'scores', 'labels', 'mask_scores'):
            torch.testing.assert_close(mine[key], own[key], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            mine.masks.probabilities, own.masks.probabilities, rtol=1e-4, atol=1e-4
        )


def test_results_are_in_the_pixels_of_the_original(flavour, ground_truth):
    model = build(flavour).eval()
    batch = batch_of(ground_truth[:1])
    batch['data_samples'][0].set_metainfo(dict(ori_shape=(64, 256), scale_factor=(0.5, 2.0)))
    batch = model.data_preprocessor(batch)
    with torch.no_grad():
        scaled, raw = (
            model.predict(batch['inputs'], batch['data_samples'], rescale)[0].pred_instances
            for rescale in (True, False)
        )
    assert (scaled.masks.height, scaled.masks.width) == (64, 256)
    assert scaled.masks.to_ndarray().shape == (len(scaled), 64, 256)
    assert len(scaled) == len(raw) > 0
    torch.testing.assert_close(scaled.bboxes, raw.bboxes / torch.tensor([0.5, 2.0, 0.5, 2.0]))


def test_tensor_mode_gives_the_maps(ground_truth):
    model = build().eval()
    batch = model.data_preprocessor(batch_of(ground_truth))
    with torch.no_grad():
        maps = model(batch['inputs'], batch['data_samples'], mode='tensor')
    assert [len(levels) for levels in maps] == [3] * 3


def test_mixed_precision(flavour, ground_truth):
    model = build(flavour).train()
    with torch.autocast('cpu', torch.bfloat16):
        losses = losses_of(model, ground_truth)
    sum(losses.values()).backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(gradient.isfinite().all() for gradient in gradients)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        found = model.eval().test_step(batch_of(ground_truth))[0].pred_instances
    assert len(found) > 0
    assert found.masks.to_ndarray().shape == (len(found), SIZE, SIZE)


@pytest.mark.parametrize(('name', 'classes'), [('mask_head', (2, 3)), ('mask_iou_head', (3, 2))])
def test_a_mask_branch_of_fewer_classes_is_refused(name, classes):
    with pytest.raises(ValueError, match=rf'roi_head\.{name}\.num_classes .* 3, got 2'):
        build(classes=classes)
