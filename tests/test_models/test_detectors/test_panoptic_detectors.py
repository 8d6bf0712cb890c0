"""BlendMask and CenterMask with a semantic branch: they train, predict, and cope with nothing."""

import numpy as np
import pytest
import small_blendmask
import small_centermask
import torch
from ellipses import SHAPES, SIZE, instances_of
from pycocotools import mask as coco_mask
from small_panoptic import STUFF, SYSTEMS, THINGS, batch_with_stuff, build

from polarseg.structures import PanopticMap

LOSSES = {
    'BlendMask': small_blendmask.LOSSES,
    'CenterMask': {'loss_cls', 'loss_bbox', 'loss_centerness', 'loss_mask', 'loss_mask_iou'},
}


@pytest.fixture(params=SYSTEMS)
def system(request):
    return request.param


@pytest.fixture
def ground_truth():
    return [instances_of(shapes) for shapes in SHAPES]


def losses_of(model, batch):
    batch = model.data_preprocessor(batch, training=True)
    return model.loss(batch['inputs'], batch['data_samples'])


def predict(model, batch):
    with torch.no_grad():
        return model.eval().test_step(batch)


def without_gradient(model):
    return [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_loss_and_backward(system, ground_truth):
    model = build(system).train()
    losses = losses_of(model, batch_with_stuff(ground_truth))
    assert set(losses) == LOSSES[system] | {'loss_sem_seg'}
    assert all(value.item() > 0 for value in losses.values())
    sum(losses.values()).backward()
    assert not without_gradient(model)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    head = model.semantic_head
    assert all(p.grad.abs().max() > 0 for p in head.parameters())


def test_the_semantic_loss_reaches_all_of_the_pyramid(system, ground_truth):
    model = build(system).train()
    losses_of(model, batch_with_stuff(ground_truth))['loss_sem_seg'].backward()
    for convs in (model.neck.lateral_convs, model.neck.fpn_convs):
        assert len(convs) == 4
        assert all(layer.conv.weight.grad.abs().max() > 0 for layer in convs)


@pytest.mark.parametrize('empty', [(0,), (0, 1)])
def test_pictures_without_instances(system, ground_truth, empty):
    """They have stuff all the same."""
    for number in empty:
        ground_truth[number] = ground_truth[number][:0]
    model = build(system).train()
    losses = losses_of(model, batch_with_stuff(ground_truth))
    assert all(value.isfinite() for value in losses.values())
    assert losses['loss_sem_seg'].item() > 0
    sum(losses.values()).backward()
    assert not without_gradient(model)


def test_pictures_without_any_label(system, ground_truth):
    model = build(system).train()
    batch = batch_with_stuff(ground_truth)
    for sample in batch['data_samples']:
        sample.gt_sem_seg.sem_seg |= 255 << 8
    losses = losses_of(model, batch)
    assert losses['loss_sem_seg'].item() == 0
    sum(losses.values()).backward()
    assert not without_gradient(model)


def test_forgotten_label_maps(system, ground_truth):
    model = build(system).train()
    batch = batch_with_stuff(ground_truth)
    for sample in batch['data_samples']:
        del sample.gt_sem_seg
    # BlendMask misses the map of its bases first
    transform = dict(BlendMask='LoadThingSemantic', CenterMask='LoadPanopticLabels')[system]
    with pytest.raises(ValueError, match=transform):
        losses_of(model, batch)


# -- predictions -----------------------------------------------------------------------------


def check_parts(sample, size):
    """Each segment has the pixels that the instance or the semantic branch says."""
    semantic = sample.pred_sem_seg.sem_seg
    assert semantic.dtype == torch.uint8
    assert semantic.shape == (1, *size)
    assert semantic.max() <= STUFF
    panoptic = PanopticMap.from_data(sample.pred_panoptic_seg)
    assert panoptic.ids.shape == size
    found = sample.pred_instances
    masks = coco_mask.decode(found.masks.to_rle()).astype(bool)
    taken = np.zeros(size, bool)
    for segment in panoptic.segments:
        own = panoptic.ids == segment.id
        assert segment.area == own.sum() > 0
        if segment.isthing:
            (place,) = torch.nonzero(found.scores == segment.score)[0].tolist()
            assert segment.category_id == found.labels[place]
            assert (own <= masks[..., place]).all()
            taken |= own
        else:
            label = segment.category_id - THINGS + 1
            assert 1 <= label <= STUFF
            assert (own == ((semantic[0].numpy() == label) & ~taken)).all()
            assert segment.area >= 64
    return panoptic


def test_predictions(system, ground_truth):
    model = build(system)
    batch = batch_with_stuff(ground_truth, sizes=[(100, 128), (128, 90)])
    batch['data_samples'][0].set_metainfo(dict(ori_shape=(50, 256), scale_factor=(0.5, 2.0)))
    results = predict(model, batch)
    maps = [check_parts(*pair) for pair in zip(results, [(50, 256), (128, 90)])]
    kinds = [{segment.isthing for segment in panoptic.segments} for panoptic in maps]
    assert kinds == [{True, False}] * 2


def test_predictions_at_the_size_of_the_input(system, ground_truth):
    model = build(system).eval()
    batch = batch_with_stuff(ground_truth, sizes=[(100, 128), (128, 90)])
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(ori_shape=(31, 47), scale_factor=(0.3, 0.3)))
    batch = model.data_preprocessor(batch)
    with torch.no_grad():
        results = model.predict(batch['inputs'], batch['data_samples'], rescale=False)
    for sample, size in zip(results, [(100, 128), (128, 90)]):
        check_parts(sample, size)


def test_the_fusion_is_that_of_the_results(system, ground_truth):
    """With the instances at the output size, and thresholds that leave some of them out."""
    model = build(system, instance_score_thr=0.1, stuff_area_limit=500)
    for sample in predict(model, batch_with_stuff(ground_truth)):
        semantic = sample.pred_sem_seg.sem_seg[0].long()
        expected = model.panoptic_fusion(sample.pred_instances, semantic)
        found = PanopticMap.from_data(sample.pred_panoptic_seg)
        assert (found.ids == expected.ids).all()
        assert found.segments == expected.segments


def test_a_batch_gives_each_picture_what_it_gets_alone(system, ground_truth):
    model = build(system)
    batch = batch_with_stuff(ground_truth, sizes=[(100, 128), (128, 90)])
    together = predict(model, dict(batch))
    for row, mine in enumerate(together):
        (own,) = predict(model, {key: values[row : row + 1] for key, values in batch.items()})
        differing = mine.pred_sem_seg.sem_seg != own.pred_sem_seg.sem_seg
        assert differing.float().mean() < 1e-3
        maps = [PanopticMap.from_data(s.pred_panoptic_seg) for s in (mine, own)]
        assert (maps[0].ids != maps[1].ids).mean() < 1e-3
        categories = [[s.category_id for s in panoptic.segments] for panoptic in maps]
        assert categories[0] == categories[1]


def test_no_instance_above_the_threshold(system, ground_truth):
    model = build(system, instance_score_thr=0.99)
    for sample in predict(model, batch_with_stuff(ground_truth)):
        segments = PanopticMap.from_data(sample.pred_panoptic_seg).segments
        assert segments
        assert not any(segment.isthing for segment in segments)


def test_nothing_found(system, ground_truth):
    model = build(system, stuff_area_limit=SIZE * SIZE + 1)
    torch.nn.init.constant_(model.bbox_head.conv_cls.bias, -100.0)
    for sample in predict(model, batch_with_stuff(ground_truth)):
        assert len(sample.pred_instances) == 0
        panoptic = PanopticMap.from_data(sample.pred_panoptic_seg)
        assert panoptic.segments == []
        assert panoptic.ids.shape == (SIZE, SIZE)


# -- parts of it -----------------------------------------------------------------------------


def test_semantic_branch_alone(system, ground_truth):
    results = predict(build(system, fusion=False), batch_with_stuff(ground_truth))
    for sample in results:
        assert 'pred_sem_seg' in sample
        assert 'pred_panoptic_seg' not in sample


def test_instances_alone(system, ground_truth):
    """The same instances, with the same further level of the pyramid."""
    panoptic = build(system)
    alone = build(system, semantic=False, fusion=False)
    alone.load_state_dict(panoptic.state_dict(), strict=False)
    batch = batch_with_stuff(ground_truth)
    with_semantics = predict(panoptic, dict(batch))
    with_semantics = [sample.pred_instances for sample in with_semantics]
    for sample, expected in zip(predict(alone, batch_with_stuff(ground_truth)), with_semantics):
        assert 'pred_sem_seg' not in sample
        assert 'pred_panoptic_seg' not in sample
        torch.testing.assert_close(sample.pred_instances.bboxes, expected.bboxes)
        torch.testing.assert_close(sample.pred_instances.scores, expected.scores)


def test_fusion_needs_a_semantic_branch(system):
    with pytest.raises(ValueError, match='panoptic_fusion needs a semantic_head, got None'):
        build(system, semantic=False)


def test_tensor_mode(system, ground_truth):
    """The maps of the detection head's own levels."""
    model = build(system).eval()
    batch = model.data_preprocessor(batch_with_stuff(ground_truth))
    with torch.no_grad():
        maps = model(batch['inputs'], batch['data_samples'], mode='tensor')
    if system == 'BlendMask':
        maps, bases = maps
        assert bases.shape[-2:] == (SIZE // 4, SIZE // 4)
    assert [tuple(level.shape[-2:]) for level in maps[0]] == [(SIZE // s,) * 2 for s in (8, 16, 32)]


def test_mixed_precision(system, ground_truth):
    model = build(system).train()
    with torch.autocast('cpu', torch.bfloat16):
        losses = losses_of(model, batch_with_stuff(ground_truth))
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    with torch.autocast('cpu', torch.bfloat16):
        results = predict(model, batch_with_stuff(ground_truth))
    for sample in results:
        check_parts(sample, (SIZE, SIZE))


def test_centermask_without_a_semantic_branch_is_unchanged(ground_truth):
    model = small_centermask.build()
    assert model.semantic_head is None
    assert not any('semantic' in name for name in model.state_dict())
