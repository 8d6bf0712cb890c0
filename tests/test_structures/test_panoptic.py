"""PanopticMap: checks, areas, boxes, semantic labels, the form that data samples hold."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData

from polarseg.structures import PanopticMap, Segment
from polarseg.structures.panoptic import count_ids, count_pairs, panoptic_classes, thing_classes

IDS = np.array([[0, 7, 7, 7], [2, 2, 7, 0], [2, 2, 300, 300]])
SEGMENTS = [
    Segment(7, 1, isthing=True, score=0.5),
    Segment(300, 0, isthing=True),
    Segment(2, 4, isthing=False),
]


def entries(panoptic):
    return [segment.to_dict() for segment in panoptic.segments]


@pytest.mark.parametrize('dtype', [np.int32, np.int64, np.uint16])
def test_areas_are_counted(dtype):
    panoptic = PanopticMap(IDS.astype(dtype), SEGMENTS)
    assert panoptic.ids.dtype == np.int32
    assert [(s.id, s.area) for s in panoptic.segments] == [(7, 4), (300, 2), (2, 4)]
    assert repr(panoptic) == 'PanopticMap(2 things, 1 stuff, 3x4)'
    wrong = [dict(entry, area=99) for entry in entries(panoptic)]
    assert entries(PanopticMap(torch.from_numpy(IDS), wrong)) == entries(panoptic)


def test_a_segment_without_pixels_has_area_0():
    panoptic = PanopticMap(IDS, [*SEGMENTS, Segment(9, 0, isthing=True)])
    assert panoptic.segments[-1].area == 0
    assert panoptic.boxes()[-1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize('shape', [(0, 0), (3, 0), (2, 5)])
def test_nothing_but_void(shape):
    panoptic = PanopticMap(np.zeros(shape, int), [])
    assert panoptic.segments == []
    assert panoptic.boxes().shape == (0, 4)
    assert panoptic.semantic({}).shape == shape


@pytest.mark.parametrize(
    ('ids', 'segments', 'said'),
    [
        (IDS.astype(float), SEGMENTS, r'integer map \[H, W\], got float64'),
        (IDS[None], SEGMENTS, r'got int64 \[1, 3, 4\]'),
        (IDS > 0, SEGMENTS, 'got bool'),
        (IDS - 1, SEGMENTS, r'got -1 \.\. 299'),
        (IDS + 2**31, SEGMENTS, r'2\*\*31 - 1'),
        (IDS, SEGMENTS[:2], 'no segment has: 2$'),
        (IDS, SEGMENTS + SEGMENTS[:1], 'more than once: 7$'),
        (np.arange(1, 13).reshape(3, 4), [], r'1, 2, 3, 4, 5, 6, 7, 8, \.\.\. \(12 in all\)'),
        (IDS, [dict(id=2, isthing=True)], 'a segment needs category_id'),
        (IDS, [dict(id=0, category_id=1, isthing=True)], 'above 0, got 0'),
        (IDS, [dict(id='2', category_id=1, isthing=True)], "got '2'"),
        (IDS, [dict(id=2, category_id=None, isthing=True)], 'segment 2: category_id'),
    ],
)
def test_what_does_not_fit_is_named(ids, segments, said):
    with pytest.raises(ValueError, match=said):
        PanopticMap(ids, segments)


def test_boxes_hold_their_segments():
    ids = np.zeros((40, 50), int)
    ids[3:9, 40:] = 5
    ids[9:12, :4] = 5  # touches the run before at the row's end
    ids[20, 20] = 1
    panoptic = PanopticMap(ids, [Segment(5, 0, True), Segment(1, 0, True)])
    assert panoptic.boxes().tolist() == [[0, 3, 50, 9], [20, 20, 1, 1]]


def test_boxes_of_random_maps():
    random = np.random.default_rng(0)
    for side in (1, 2, 13):
        ids = random.integers(0, 6, (side, 17))
        segments = [Segment(int(i), 0, True) for i in random.permutation(np.unique(ids)) if i]
        panoptic = PanopticMap(ids, segments)
        for segment, box in zip(panoptic.segments, panoptic.boxes().tolist()):
            rows, columns = np.nonzero(ids == segment.id)
            assert box == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert segment.area == len(rows)


def test_semantic_labels():
    panoptic = PanopticMap(IDS, SEGMENTS)
    labels = panoptic.semantic({0: 0, 1: 0, 4: 3})
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[255, 0, 0, 0], [3, 3, 0, 255], [3, 3, 0, 0]]
    assert panoptic.semantic({4: 3}, void=9).tolist()[1] == [3, 3, 9, 9]


def test_other_categories():
    panoptic = PanopticMap(IDS, SEGMENTS)
    changed = panoptic.with_categories({0: 10, 1: 11, 4: 92})
    assert [s.category_id for s in changed.segments] == [11, 10, 92]
    assert [s.category_id for s in panoptic.segments] == [1, 0, 4]
    assert changed.segments[0].score == 0.5
    with pytest.raises(ValueError, match='segment 2 has category 4, which is none of 0, 1'):
        panoptic.with_categories({0: 10, 1: 11})


def test_data_samples_hold_it():
    panoptic = PanopticMap(IDS, SEGMENTS)
    sample = DetDataSample()
    sample.pred_panoptic_seg = panoptic.to_pixel_data()
    sample = sample.to('cpu')
    held = sample.to_dict()['pred_panoptic_seg']
    for data in (panoptic, sample.pred_panoptic_seg, held, dict(ids=IDS, segments=SEGMENTS)):
        found = PanopticMap.from_data(data)
        assert (found.ids == IDS).all()
        assert entries(found) == entries(panoptic)
    with pytest.raises(ValueError, match=r"\['segments'\] not found"):
        PanopticMap.from_data(dict(ids=IDS))


# -- mmdet's form: class + 1000 x instance ---------------------------------------------------

# 3 things, 2 kinds of stuff, 5 is void; two of class 2, one of class 0
JOINED = np.array([[5, 2002, 2002, 1002], [3, 3, 2002, 5], [4, 3000, 3000, 4]])


@pytest.mark.parametrize('make', [np.int64, np.int32, torch.tensor])
def test_offset_ids(make):
    found = PanopticMap.from_offset_ids(make(JOINED), 3, 2)
    assert found.ids.tolist() == [[0, 4, 4, 3], [1, 1, 4, 0], [2, 5, 5, 2]]
    assert [(s.id, s.category_id, s.isthing, s.area) for s in found.segments] == [
        (1, 3, False, 2), (2, 4, False, 2), (3, 2, True, 1), (4, 2, True, 3), (5, 0, True, 2)
    ]  # fmt: skip
    assert all(segment.score is None for segment in found.segments)


def test_offset_ids_in_data_samples():
    expected = PanopticMap.from_offset_ids(JOINED, 3, 2)
    sample = DetDataSample()
    sample.pred_panoptic_seg = PixelData(sem_seg=torch.from_numpy(JOINED)[None])
    for data in (sample.pred_panoptic_seg, sample.to_dict()['pred_panoptic_seg']):
        found = PanopticMap.from_data(data, (3, 2))
        assert (found.ids == expected.ids).all()
        assert entries(found) == entries(expected)
        with pytest.raises(ValueError, match='needs the numbers of classes, got None'):
            PanopticMap.from_data(data)


def test_offset_ids_of_nothing():
    assert PanopticMap.from_offset_ids(np.full((2, 3), 5), 3, 2).segments == []
    assert PanopticMap.from_offset_ids(np.zeros((0, 3), int), 3, 2).ids.shape == (0, 3)


@pytest.mark.parametrize('wrong', [6, 999, 2, 1003, 4004])
def test_offset_ids_that_mean_nothing(wrong):
    """Classes beyond void, a thing without a number, stuff with one."""
    with pytest.raises(ValueError, match=rf'3 things, .* 5 \(void\), got {wrong}$'):
        PanopticMap.from_offset_ids(np.array([[3, wrong]]), 3, 2)


def test_class_names_of_both_kinds_of_meta_information():
    ours = dict(classes=('cat', 'dog'), stuff_classes=('sky',))
    theirs = dict(
        classes=('cat', 'dog', 'sky'), thing_classes=('cat', 'dog'), stuff_classes=('sky',)
    )
    assert panoptic_classes(ours) == panoptic_classes(theirs) == (['cat', 'dog'], ['sky'])
    with pytest.raises(ValueError, match='has no stuff_classes'):
        panoptic_classes(dict(classes=('cat',)))
    assert thing_classes(ours) == thing_classes(theirs) == ('cat', 'dog')
    assert thing_classes({}) == ()


def test_segments_as_dictionaries():
    crowd = Segment(3, 1, isthing=True, area=4, iscrowd=True)
    assert crowd.to_dict() == dict(id=3, category_id=1, isthing=True, area=4, iscrowd=True)
    assert Segment.from_dict(crowd.to_dict() | {'bbox': [1, 2, 3, 4]}) == crowd
    scored = Segment(np.int32(3), np.int64(1), isthing=np.bool_(True), score=np.float32(0.5))
    assert [type(value) for value in scored.to_dict().values()] == [int, int, bool, int, float]


@pytest.mark.parametrize('shape', [(0, 4), (1, 1), (23, 31)])
@pytest.mark.parametrize('most', [1, 3, 10**6])
def test_counts_are_those_of_unique(shape, most):
    random = np.random.default_rng(1)
    first, second = random.integers(0, most, (2, *shape))
    values, counts = np.unique(first, return_counts=True)
    found = count_ids(first)
    assert (found[0] == values).all()
    assert (found[1] == counts).all()
    pairs = np.stack([first, second], -1).reshape(-1, 2)
    expected, counts = np.unique(pairs, axis=0, return_counts=True)
    found = np.stack(count_pairs(first, second), 1)
    assert (found == np.column_stack([expected, counts])).all()


def test_pairs_of_two_sizes():
    with pytest.raises(ValueError, match=r'one size, got \[3, 4\] and \[4, 3\]'):
        count_pairs(IDS, IDS.T)
