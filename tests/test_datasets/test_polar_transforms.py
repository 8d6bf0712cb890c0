"""PolarMask's transforms, alone and in mmdet's pipeline."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.dataset import Compose
from pycocotools import mask as coco_mask

from polarseg.datasets.transforms import (
    BoxesToConvention,
    DropTinyMasks,
    PackPolarInputs,
    TracePolarContours,
)
from polarseg.datasets.transforms.polar_contours import largest_polygon
from polarseg.registry import TRANSFORMS
from polarseg.structures import largest_contour, mass_center

HEIGHT, WIDTH = 60, 80


def build(*steps):
    return Compose([TRANSFORMS.build(step) for step in steps])


def rectangle(x, y, width, height):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def results_of(masks, ignore=(), **extra):
    """What the loading transforms leave for bitmaps; labels are the instances' numbers."""
    count = len(masks)
    return dict(
        img=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        img_id=17,
        img_shape=(HEIGHT, WIDTH),
        ori_shape=(HEIGHT, WIDTH),
        gt_bboxes=HorizontalBoxes(np.array([box_of(m) for m in masks]).reshape(-1, 4)),
        gt_bboxes_labels=np.arange(count),
        gt_ignore_flags=np.array([i in ignore for i in range(count)], dtype=bool),
        gt_masks=BitmapMasks(list(masks), HEIGHT, WIDTH),
        **extra,
    )


def box_of(mask, edge=1):
    """Tight box of a mask; ``edge=0`` names the last pixel."""
    rows, columns = mask.nonzero()
    if not len(rows):
        return [0.0, 0.0, 1.0, 1.0]
    ends = columns.min(), rows.min(), columns.max() + edge, rows.max() + edge
    return [float(end) for end in ends]


# -- loading: RLE and polygons --------------------------------------------------------------------


def as_annotation(kind, mask, polygon):
    if kind == 'polygon':
        return polygon
    rle = coco_mask.encode(np.asfortranarray(mask))
    if kind == 'compressed':
        return dict(size=rle['size'], counts=rle['counts'].decode())
    pixels = mask.T.reshape(-1)
    changes = np.flatnonzero(np.diff(pixels)) + 1
    return dict(size=rle['size'], counts=np.diff([0, *changes, pixels.size]).tolist())


@pytest.mark.parametrize('seed', range(3))
def test_rle_and_polygons_of_the_same_mask_give_the_same_contours(seed):
    angles = np.linspace(0, 2 * np.pi, 17)[:-1]
    radii = np.random.default_rng(seed).uniform(8, 25, 16)
    outline = np.stack([40 + radii * np.cos(angles), 30 + radii * np.sin(angles)], axis=1)
    polygon = [outline.reshape(-1).tolist()]
    mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygon, HEIGHT, WIDTH)))
    steps = build(
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='TracePolarContours'),
    )
    found = {}
    for kind in ('polygon', 'compressed', 'uncompressed'):
        instance = dict(
            bbox=box_of(mask), bbox_label=0, ignore_flag=0, mask=as_annotation(kind, mask, polygon)
        )
        results = dict(instances=[instance], ori_shape=(HEIGHT, WIDTH), height=HEIGHT, width=WIDTH)
        found[kind] = steps(results)
    for kind, results in found.items():
        assert torch.equal(results['gt_contours'].points, found['polygon']['gt_contours'].points)
        np.testing.assert_array_equal(results['gt_centers'], found['polygon']['gt_centers'], kind)
    np.testing.assert_array_equal(found['polygon']['gt_contours'].numpy()[0], largest_contour(mask))


# -- TracePolarContours ---------------------------------------------------------------------------


def test_contours_and_centers_of_every_instance():
    masks = [rectangle(4, 5, 20, 11), rectangle(50, 30, 7, 9)]
    results = TracePolarContours().transform(results_of(masks))
    for contour, mask in zip(results['gt_contours'].numpy(), masks):
        np.testing.assert_array_equal(contour, largest_contour(mask))
    assert results['gt_centers'].dtype == np.float32
    assert results['gt_centers'].tolist() == [list(mass_center(largest_contour(m))) for m in masks]
    assert 'gt_masks' not in results


def test_options_of_the_center_and_the_masks():
    masks = [rectangle(4, 5, 20, 11)]
    transform = TracePolarContours(truncate_centers=False, keep_masks=True)
    results = transform.transform(results_of(masks))
    assert results['gt_centers'].tolist() == [[13.5, 10.0]]
    np.testing.assert_array_equal(results['gt_masks'].masks[0], masks[0])


def test_an_instance_that_vanishes_on_a_resize_is_dropped_logged_and_counted(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'polarseg.datasets.skip_log.print_log', lambda text, **_: lines.append(text)
    )
    # columns 1 to 3 and 5 to 7 are not sampled at a tenth of the size
    masks = [rectangle(10, 10, 40, 30), rectangle(11, 5, 1, 30), rectangle(0, 0, 30, 30)]
    trace = TracePolarContours()
    steps = Compose([TRANSFORMS.build(dict(type='Resize', scale=(8, 6), keep_ratio=False)), trace])
    results = steps(results_of(masks, ignore=[2]))
    assert results['gt_bboxes_labels'].tolist() == [0, 2]
    assert results['gt_ignore_flags'].tolist() == [False, True]
    assert results['gt_bboxes'].tensor.tolist() == [[1, 1, 5, 4], [0, 0, 3, 3]]
    assert len(results['gt_contours']) == len(results['gt_centers']) == 2
    assert results['gt_contours'].numpy()[1].max() == 2
    assert dict(trace.skips.counts) == {'its mask has no pixel at the network size': 1}
    assert len(lines) == 1
    for part in ('TracePolarContours', 'instance 1', 'image 17', 'no pixel', '1 so far'):
        assert part in lines[0]


def test_everything_vanishes():
    results = TracePolarContours().transform(results_of([np.zeros((HEIGHT, WIDTH), np.uint8)] * 2))
    assert len(results['gt_bboxes']) == len(results['gt_contours']) == 0
    assert results['gt_centers'].shape == (0, 2)


def test_boxes_and_masks_must_be_as_many():
    results = results_of([rectangle(2, 2, 5, 5), rectangle(10, 4, 6, 6)])
    results['gt_bboxes'] = results['gt_bboxes'][:1]
    with pytest.raises(ValueError, match='has 1 gt_bboxes and 2 gt_masks'):
        TracePolarContours().transform(results)


def test_thin_above_keeps_the_center_of_the_whole_contour():
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (40, 30), (35, 20), 20, 0, 300, 1, -1)
    whole = TracePolarContours().transform(results_of([mask]))
    thin = TracePolarContours(thin_above=30).transform(results_of([mask]))
    full, thinned = whole['gt_contours'].numpy()[0], thin['gt_contours'].numpy()[0]
    assert 30 <= len(thinned) < 60 < len(full)
    np.testing.assert_array_equal(thinned, full[:: len(full) // 30])
    np.testing.assert_array_equal(thin['gt_centers'], whole['gt_centers'])


def test_polygons_as_they_are():
    big = np.array([10.5, 10, 40, 10, 40, 30, 10.5, 30])
    small = np.array([60.0, 5, 70, 5, 65, 12])
    flat = np.array([5.0, 5, 9, 9, 7, 7])
    results = results_of([rectangle(10, 10, 30, 20), rectangle(5, 5, 4, 4)])
    results['gt_masks'] = PolygonMasks([[small, big], [flat]], HEIGHT, WIDTH)
    transform = TracePolarContours(dense=False, truncate_centers=False)
    transform.transform(results)
    assert results['gt_bboxes_labels'].tolist() == [0], 'a polygon without area is no contour'
    np.testing.assert_array_equal(results['gt_contours'].numpy()[0], big.reshape(-1, 2))
    assert results['gt_centers'].tolist() == [[25.25, 20]]
    assert sum(transform.skips.counts.values()) == 1


def test_polygons_are_rasterised_for_dense_contours():
    polygon = np.array([10.0, 10, 40, 10, 40, 30, 10, 30])
    results = results_of([rectangle(10, 10, 30, 20)])
    results['gt_masks'] = PolygonMasks([[polygon]], HEIGHT, WIDTH)
    TracePolarContours().transform(results)
    expected = largest_contour(rectangle(10, 10, 30, 20))
    np.testing.assert_array_equal(results['gt_contours'].numpy()[0], expected)


def test_bitmaps_without_dense():
    with pytest.raises(TypeError, match='poly2mask=False'):
        TracePolarContours(dense=False).transform(results_of([rectangle(1, 1, 9, 9)]))


def test_largest_polygon():
    square = np.array([0, 0, 4, 0, 4, 4, 0, 4])
    assert largest_polygon([]) is None
    assert largest_polygon([np.zeros(6)]) is None
    np.testing.assert_array_equal(
        largest_polygon([square[:6], square + 9]), (square + 9).reshape(-1, 2)
    )


# -- DropTinyMasks --------------------------------------------------------------------------------


def test_tiny_masks_are_dropped_and_counted():
    masks = [rectangle(0, 0, 7, 2), rectangle(10, 10, 5, 3), rectangle(30, 30, 1, 1)]
    transform = DropTinyMasks(min_pixels=15)
    results = transform.transform(results_of(masks, ignore=[1]))
    assert results['gt_bboxes_labels'].tolist() == [1]
    assert results['gt_ignore_flags'].tolist() == [True]
    assert results['gt_bboxes'].tensor.tolist() == [[10, 10, 15, 13]]
    np.testing.assert_array_equal(results['gt_masks'].masks, masks[1:2])
    assert dict(transform.skips.counts) == {'mask below 15 pixels': 2}


@pytest.mark.parametrize(
    ('masks', 'ignore', 'passes'),
    [
        ([rectangle(0, 0, 9, 9)], [], True),
        ([rectangle(0, 0, 2, 2)], [], False),
        ([rectangle(0, 0, 9, 9)], [0], False),
        ([], [], False),
    ],
    ids=['large', 'tiny', 'crowd alone', 'none'],
)
def test_pictures_without_usable_instances(masks, ignore, passes):
    results = DropTinyMasks(keep_empty=False).transform(results_of(masks, ignore))
    assert (results is not None) == passes
    assert DropTinyMasks().transform(results_of(masks, ignore)) is not None


# -- BoxesToConvention ----------------------------------------------------------------------------


@pytest.mark.parametrize('inclusive', [False, True])
@pytest.mark.parametrize('direction', [None, 'horizontal', 'vertical', 'diagonal'])
def test_boxes_follow_the_masks(direction, inclusive):
    """A box carried through resize and flip is the tight box of the carried mask."""
    edge = 0 if inclusive else 1
    masks = [rectangle(10, 12, 20, 15), rectangle(0, 0, 9, 9), rectangle(70, 50, 10, 10)]
    results = results_of(masks)
    results['gt_bboxes'] = HorizontalBoxes(np.array([box_of(mask, edge) for mask in masks]))
    flip = dict(type='RandomFlip', prob=1.0, direction=direction or 'horizontal')
    steps = build(
        *([flip] if direction else []), dict(type='BoxesToConvention', inclusive_boxes=inclusive)
    )
    results = steps(results)
    expected = [box_of(mask, edge) for mask in results['gt_masks'].masks]
    assert results['gt_bboxes'].tensor.tolist() == expected
    if direction:
        assert expected[0] != box_of(masks[0], edge)


@pytest.mark.parametrize('direction', [None, 'horizontal', 'vertical', 'diagonal'])
def test_resized_inclusive_boxes_by_the_published_formula(direction):
    box = [10.0, 12.0, 29.0, 26.0]
    results = results_of([rectangle(10, 12, 20, 15)])
    results['gt_bboxes'] = HorizontalBoxes(np.array([box]))
    steps = build(
        dict(type='Resize', scale=(160, 90), keep_ratio=False, clip_object_border=False),
        *([dict(type='RandomFlip', prob=1.0, direction=direction)] if direction else []),
        dict(type='BoxesToConvention', inclusive_boxes=True),
    )
    x1, y1, x2, y2 = box[0] * 2, box[1] * 1.5, box[2] * 2, box[3] * 1.5
    if direction in ('horizontal', 'diagonal'):
        x1, x2 = 160 - x2 - 1, 160 - x1 - 1
    if direction in ('vertical', 'diagonal'):
        y1, y2 = 90 - y2 - 1, 90 - y1 - 1
    assert steps(results)['gt_bboxes'].tensor.tolist() == [[x1, y1, x2, y2]]


@pytest.mark.parametrize(('inclusive', 'last'), [(True, (79, 59)), (False, (80, 60))])
def test_boxes_are_clipped_to_the_picture(inclusive, last):
    results = results_of([rectangle(0, 0, 9, 9)])
    results['gt_bboxes'] = HorizontalBoxes(np.array([[-5.0, -7.0, 500.0, 300.0]]))
    BoxesToConvention(inclusive).transform(results)
    assert results['gt_bboxes'].tensor.tolist() == [[0, 0, *last]]


def test_clipping_can_be_left_out():
    results = results_of([rectangle(0, 0, 9, 9)])
    results['gt_bboxes'] = HorizontalBoxes(np.array([[-5.0, -7.0, 500.0, 300.0]]))
    results |= dict(flip=True, flip_direction='horizontal')
    BoxesToConvention(True, clip=False).transform(results)
    assert results['gt_bboxes'].tensor.tolist() == [[-6, -7, 499, 300]]


@pytest.mark.parametrize(('inclusive', 'kept'), [(True, [0, 3]), (False, [0, 3, 4])])
def test_empty_boxes_are_dropped_logged_and_counted(inclusive, kept):
    results = results_of([rectangle(0, 0, 9, 9)] * 5, ignore=[3])
    boxes = [[1, 1, 5, 5], [7, 1, 7, 9], [90, 1, 95, 9], [0, 0, 4, 9], [79, 4, 80, 9]]
    results['gt_bboxes'] = HorizontalBoxes(np.array(boxes, dtype=np.float32))
    transform = BoxesToConvention(inclusive, drop_empty=True)
    transform.transform(results)
    assert results['gt_bboxes_labels'].tolist() == kept
    assert results['gt_ignore_flags'].tolist() == [index == 3 for index in kept]
    assert len(results['gt_bboxes']) == len(results['gt_masks']) == len(kept)
    assert dict(transform.skips.counts) == {'its box is empty': 5 - len(kept)}


def test_all_boxes_are_empty():
    results = results_of([rectangle(0, 0, 9, 9)])
    results['gt_bboxes'] = HorizontalBoxes(np.array([[5.0, 5, 5, 5]]))
    BoxesToConvention(drop_empty=True).transform(results)
    assert len(results['gt_bboxes']) == len(results['gt_masks']) == 0


# -- PackPolarInputs ------------------------------------------------------------------------------


def test_crowds_in_between_keep_contours_aligned():
    masks = [rectangle(5 * i, 4 * i, 8 + i, 9) for i in range(5)]
    results = TracePolarContours(keep_masks=True).transform(results_of(masks, ignore=[0, 2]))
    sample = PackPolarInputs().transform(results)['data_samples']
    positives = sample.gt_instances
    assert positives.labels.tolist() == [1, 3, 4]
    assert sample.ignored_instances.labels.tolist() == [0, 2]
    for instance in range(3):
        mask = masks[positives.labels[instance]]
        contour = positives.contours.numpy()[instance]
        np.testing.assert_array_equal(contour, largest_contour(mask))
        assert positives.centers[instance].tolist() == list(mass_center(contour))
        assert positives.bboxes.tensor[instance].tolist() == box_of(mask)
        np.testing.assert_array_equal(positives.masks.masks[instance], mask)
    assert positives.centers.dtype == torch.float32


@pytest.mark.parametrize(('masks', 'ignore'), [([], []), ([rectangle(1, 1, 20, 20)], [0])])
def test_empty_picture_through_the_whole_pipeline(masks, ignore):
    steps = build(
        dict(type='DropTinyMasks'),
        dict(type='Resize', scale=(160, 96), keep_ratio=False, clip_object_border=False),
        dict(type='RandomFlip', prob=1.0),
        dict(type='BoxesToConvention', inclusive_boxes=True),
        dict(type='TracePolarContours'),
        dict(type='PackPolarInputs'),
    )
    packed = steps(results_of(masks, ignore))
    instances = packed['data_samples'].gt_instances
    assert packed['inputs'].shape == (3, 96, 160)
    assert len(instances) == len(instances.contours) == len(instances.bboxes) == 0
    assert instances.centers.shape == (0, 2)
    assert len(packed['data_samples'].ignored_instances.labels) == len(ignore)


@pytest.mark.parametrize(
    'transform',
    [
        DropTinyMasks(20, False),
        TracePolarContours(False, 360),
        BoxesToConvention(True, False, True),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_repr_shows_the_arguments(transform):
    import polarseg.datasets.transforms as room

    copy = eval(repr(transform), vars(room))
    skips = ('skips',)
    assert {k: v for k, v in vars(copy).items() if k not in skips} == {
        k: v for k, v in vars(transform).items() if k not in skips
    }
