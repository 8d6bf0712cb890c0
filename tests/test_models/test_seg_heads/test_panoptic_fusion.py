"""PanopticFusion: which instances and which stuff become segments, to the pixel."""

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData

from polarseg.registry import MODELS
from polarseg.structures import BoxMaskInstances, PolygonInstances, masks_to_rle

HEIGHT, WIDTH, THINGS = 10, 20, 3


def fuse(boxes, scores, semantic=None, labels=None, kind='tensor', **options):
    """Fusion of rectangles (x1, y1, x2, y2), the last pixels not in them."""
    options = dict(instance_score_thr=0.5, overlap_thr=0.5, stuff_area_limit=10) | options
    fusion = MODELS.build(dict(type='PanopticFusion', num_things_classes=THINGS, **options))
    if semantic is None:
        semantic = torch.zeros(HEIGHT, WIDTH, dtype=torch.long)
    labels = [0] * len(scores) if labels is None else labels
    instances = InstanceData(
        scores=torch.tensor(scores, dtype=torch.float32).reshape(-1),
        labels=torch.tensor(labels, dtype=torch.long),
        masks=MASKS[kind](boxes),
    )
    return fusion(instances, semantic)


def test_an_instance_that_is_hidden_has_no_segment():
    """Even where any overlap is allowed: a segment without pixels is none."""
    panoptic = fuse([(0, 0, 8, 8), (2, 2, 6, 6)], [0.9, 0.8], overlap_thr=1.0)
    assert [segment.area for segment in panoptic.segments] == [64]


def pixels(boxes):
    masks = np.zeros((len(boxes), HEIGHT, WIDTH), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[y1:y2, x1:x2] = True
    return masks


def corners(boxes, last=0):
    """Of rectangles whose last pixel is so far beyond their end."""
    places = [(x1, y1, x2 + last, y2 + last) for x1, y1, x2, y2 in boxes]
    places = [[[x1, y1], [x2, y1], [x2, y2], [x1, y2]] for x1, y1, x2, y2 in places]
    return np.array(places, np.float32).reshape(-1, 4, 2)


MASKS = {
    'tensor': lambda boxes: torch.from_numpy(pixels(boxes)),
    'bitmaps': lambda boxes: BitmapMasks(pixels(boxes).astype(np.uint8), HEIGHT, WIDTH),
    'polygons': lambda boxes: PolygonMasks(
        [[outline.reshape(-1)] for outline in corners(boxes)], HEIGHT, WIDTH
    ),
    # filled up to the pixels of the vertices
    'one polygon each': lambda boxes: PolygonInstances(
        torch.from_numpy(corners(boxes, last=-1)), HEIGHT, WIDTH
    ),
    'maps over boxes': lambda boxes: BoxMaskInstances(
        torch.ones(len(boxes), 28, 28),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        HEIGHT,
        WIDTH,
    ),
}
kinds = pytest.mark.parametrize('kind', MASKS)


def segments_of(found):
    return [(s.id, s.category_id, s.isthing, s.area) for s in found.segments]


@kinds
def test_best_first_each_without_what_is_taken(kind):
    boxes = [(0, 0, 10, 4), (6, 0, 16, 4), (2, 4, 5, 9)]
    found = fuse(boxes, [0.6, 0.9, 0.7], labels=[0, 2, 1], kind=kind)
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[:4, :6], expected[:4, 6:16], expected[4:9, 2:5] = 3, 1, 2
    assert (found.ids == expected).all()
    assert found.ids.dtype == np.int32
    # area: the pixels of the map, not those of the mask
    assert segments_of(found) == [(1, 2, True, 40), (2, 1, True, 15), (3, 0, True, 24)]
    assert [s.score for s in found.segments] == pytest.approx([0.9, 0.7, 0.6])


@kinds
def test_no_instances(kind):
    semantic = torch.zeros(HEIGHT, WIDTH, dtype=torch.long)
    semantic[5:] = 2
    found = fuse([], [], semantic, kind=kind)
    assert segments_of(found) == [(1, THINGS + 1, False, 100)]
    assert (found.ids == (semantic.numpy() == 2)).all()


@kinds
def test_all_instances_are_below_the_threshold(kind):
    found = fuse([(0, 0, 5, 5)], [0.3], kind=kind)
    assert found.segments == []
    assert not found.ids.any()


def test_run_lengths():
    boxes = [(0, 0, 10, 4), (6, 0, 16, 4)]
    instances = InstanceData(scores=torch.tensor([0.8, 0.9]), labels=torch.tensor([0, 1]))
    instances.masks = masks_to_rle(pixels(boxes))
    fusion = MODELS.build(dict(type='PanopticFusion', num_things_classes=THINGS))
    found = fusion(instances, torch.zeros(HEIGHT, WIDTH, dtype=torch.long))
    assert (found.ids == fuse(boxes, [0.8, 0.9]).ids).all()


@pytest.mark.parametrize(('score', 'kept'), [(0.5, True), (0.4999, False), (0.5001, True)])
def test_a_score_at_the_threshold_is_kept(score, kept):
    found = fuse([(0, 0, 4, 4), (8, 0, 12, 4)], [score, 0.9])
    assert len(found.segments) == 1 + kept


@pytest.mark.parametrize(('shared', 'kept'), [(4, True), (5, True), (6, False), (10, False)])
def test_an_overlap_at_the_threshold_is_kept(shared, kept):
    """Shared pixels over those of the whole mask, 10."""
    found = fuse([(0, 0, shared, 1), (0, 0, 10, 1)], [0.9, 0.8])
    assert len(found.segments) == 1 + kept
    assert (found.ids == 2).sum() == (10 - shared if kept else 0)


@pytest.mark.parametrize(('overlap_thr', 'kept'), [(0.4, True), (0.39, False)])
def test_published_overlap(overlap_thr, kept):
    found = fuse([(0, 0, 4, 1), (0, 0, 10, 1)], [0.9, 0.8], overlap_thr=overlap_thr)
    assert len(found.segments) == 1 + kept


def test_overlap_counts_all_that_is_taken():
    """By one or by several; what has been left out takes nothing."""
    boxes = [(0, 0, 4, 1), (4, 0, 7, 1), (0, 0, 10, 1), (3, 0, 13, 1)]
    found = fuse(boxes, [0.9, 0.8, 0.7, 0.6], labels=[0, 1, 2, 0])
    # the third shares 7 of 10; the fourth 4 of 10 with the first two
    assert segments_of(found) == [(1, 0, True, 4), (2, 1, True, 3), (3, 0, True, 6)]


def test_equal_scores_keep_their_order():
    boxes = [(0, 0, 4, 1), (2, 0, 6, 1), (4, 0, 8, 1)]
    for order in ([0, 1, 2], [2, 1, 0]):
        found = fuse([boxes[i] for i in order], [0.8] * 3, labels=order)
        assert [s.category_id for s in found.segments] == order
        first = order[0]
        assert (found.ids == 1).nonzero()[1].tolist() == list(range(2 * first, 2 * first + 4))


def test_empty_masks_are_left_out():
    boxes = [(3, 3, 3, 3), (0, 0, 4, 4)]
    found = fuse(boxes, [0.9, 0.8], labels=[1, 2])
    assert segments_of(found) == [(1, 2, True, 16)]


@pytest.mark.parametrize(('limit', 'kept'), [(40, True), (41, False), (0, True)])
def test_stuff_of_the_smallest_area_is_kept(limit, kept):
    semantic = torch.zeros(HEIGHT, WIDTH, dtype=torch.long)
    semantic[:2] = 3
    found = fuse([], [], semantic, stuff_area_limit=limit)
    assert segments_of(found) == ([(1, THINGS + 2, False, 40)] if kept else [])
    assert (found.ids == 1).sum() == (40 if kept else 0)


def test_stuff_gets_what_instances_leave():
    """Its free pixels decide; its classes come in their order; things' pixels stay void."""
    semantic = torch.zeros(HEIGHT, WIDTH, dtype=torch.long)
    semantic[:4], semantic[4:6], semantic[6:7] = 2, 1, 3
    found = fuse([(0, 0, 15, 4), (0, 4, 16, 7)], [0.9, 0.8], semantic, stuff_area_limit=8)
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[:4, :15], expected[4:7, :16] = 1, 2
    # 8 pixels of class 1 are left, 20 of class 2, 4 of class 3
    expected[4:6, 16:], expected[:4, 15:] = 3, 4
    assert (found.ids == expected).all()
    assert segments_of(found)[2:] == [(3, THINGS, False, 8), (4, THINGS + 1, False, 20)]
    assert all(segment.score is None for segment in found.segments[2:])


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.int64])
def test_kinds_of_semantic_maps(dtype):
    semantic = torch.full((HEIGHT, WIDTH), 53, dtype=dtype)
    assert segments_of(fuse([], [], semantic)) == [(1, THINGS + 52, False, 200)]


def test_nothing_at_all():
    found = fuse([], [])
    assert found.segments == []
    assert found.ids.shape == (HEIGHT, WIDTH)
    assert not found.ids.any()


def test_published_values_are_the_defaults():
    fusion = MODELS.build(dict(type='PanopticFusion'))
    assert (fusion.num_things_classes, fusion.instance_score_thr) == (80, 0.45)
    assert (fusion.overlap_thr, fusion.stuff_area_limit) == (0.4, 4096)
