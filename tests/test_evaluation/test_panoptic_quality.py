"""Panoptic quality: cases worked out by hand, and a second account of the rules on random maps."""

import math
from collections import defaultdict

import numpy as np
import pytest

from polarseg.evaluation import PanopticQuality, quality_table
from polarseg.evaluation.panoptic_quality import match_segments
from polarseg.structures import PanopticMap, Segment
from polarseg.structures.panoptic_files import Category

CAT, DOG, SKY, SEA = 1, 7, 92, 200
CATEGORIES = [
    Category(CAT, 'cat', True),
    Category(DOG, 'dog', True),
    Category(SKY, 'sky', False),
    Category(SEA, 'sea', False),
]
# the segments of a letter; capitals are crowds
CLASSES = dict(zip('abcdeswxyz', [CAT, CAT, CAT, DOG, DOG, SKY, SEA, CAT, CAT, DOG]))


def strip(text, ids=None):
    """A map of one row: '6a 4. 2d' is 6 pixels of segment a, 4 of void, 2 of segment d."""
    pixels = ''.join(part[-1] * int(part[:-1]) for part in text.split())
    letters = sorted(set(pixels) - {'.'})
    ids = ids or {letter: ord(letter) * 1000 for letter in letters}
    segments = [
        Segment(ids[x], CLASSES[x.lower()], x.lower() in 'abcdexyz', iscrowd=x.isupper())
        for x in letters
    ]
    return PanopticMap(np.array([[ids.get(x, 0) for x in pixels]], np.int64), segments)


def counts(prediction, truth):
    found = match_segments(strip(prediction), strip(truth))
    return {category: values.tolist() for category, values in found.items()}


# prediction, truth, {category: [sum of IoU, TP, FP, FN]}
BY_HAND = {
    'equal': ('5a 3b 2.', '5a 3b 2.', {CAT: [2, 2, 0, 0]}),
    'other ids': ('5x 3y 2.', '5a 3b 2.', {CAT: [2, 2, 0, 0]}),
    'merged': ('10a', '6a 4b', {CAT: [0.6, 1, 0, 1]}),
    'merged halves': ('10a', '5a 5b', {CAT: [0, 0, 1, 2]}),
    'split': ('6a 4b', '10a', {CAT: [0.6, 1, 1, 0]}),
    'split halves': ('5a 5b', '10a', {CAT: [0, 0, 2, 1]}),
    'wrong class': ('10d', '10a', {CAT: [0, 0, 0, 1], DOG: [0, 0, 1, 0]}),
    'wrong class of stuff': ('8s 2w', '2s 8w', {SKY: [0, 0, 1, 1], SEA: [0, 0, 1, 1]}),
    'stuff for a thing': ('10s', '10a', {CAT: [0, 0, 0, 1], SKY: [0, 0, 1, 0]}),
    'IoU of a half': ('5. 5a', '10a', {CAT: [0, 0, 1, 1]}),
    'IoU above a half': ('4. 6a', '10a', {CAT: [0.6, 1, 0, 0]}),
    # 4 shared, 6 of the union
    'shifted': ('1. 5a', '5a 1b', {CAT: [4 / 6, 1, 0, 1]}),
    # what lies on void of the truth does not count for the union
    'onto void': ('9a 1.', '4a 6.', {CAT: [1, 1, 0, 0]}),
    'onto void and beside': ('1. 8a 1.', '4a 6.', {CAT: [3 / 4, 1, 0, 0]}),
    # but void of the prediction does
    'void in the prediction': ('7a 3.', '10a', {CAT: [0.7, 1, 0, 0]}),
    'all on void': ('10a', '10.', {}),
    'mostly on void': ('10a', '4d 6.', {DOG: [0, 0, 0, 1]}),
    'half on void': ('10a', '5d 5.', {CAT: [0, 0, 1, 0], DOG: [0, 0, 0, 1]}),
    'crowd is not missed': ('10.', '10A', {}),
    'crowd is no match': ('10a', '10A', {}),
    'several on a crowd': ('3a 3b 4c', '10A', {}),
    'another class on a crowd': ('10d', '10A', {DOG: [0, 0, 1, 0]}),
    'half on a crowd': ('10a', '5A 5s', {CAT: [0, 0, 1, 0], SKY: [0, 0, 0, 1]}),
    'crowd and void together': ('10a', '3A 3. 4s', {SKY: [0, 0, 0, 1]}),
    'two crowds together': ('10a', '3A 3B 4s', {SKY: [0, 0, 0, 1]}),
    # pixels of a crowd do count for the union, unlike void
    'onto a crowd': ('10a', '6a 4A', {CAT: [0.6, 1, 0, 0]}),
    'one pixel': ('9. 1a', '9s 1a', {CAT: [1, 1, 0, 0], SKY: [0, 0, 0, 1]}),
    'one pixel beside': ('8. 1a 1.', '9s 1a', {CAT: [0, 0, 1, 1], SKY: [0, 0, 0, 1]}),
    'nothing predicted': ('10.', '4a 4b 2s', {CAT: [0, 0, 0, 2], SKY: [0, 0, 0, 1]}),
    'nothing there': ('10.', '10.', {}),
    'void all over': ('4a 4b 2s', '10.', {}),
    # a thing of two pieces
    'pieces': ('3a 4s 3a', '3a 4s 3a', {CAT: [1, 1, 0, 0], SKY: [1, 1, 0, 0]}),
}


@pytest.mark.parametrize('case', BY_HAND)
def test_by_hand(case):
    prediction, truth, expected = BY_HAND[case]
    found = counts(prediction, truth)
    assert set(found) == set(expected)
    for category, values in expected.items():
        assert found[category] == pytest.approx(values, abs=1e-12)


def test_qualities_by_hand():
    """Two pictures, of which PQ, SQ and RQ can be worked out on paper."""
    quality = PanopticQuality(CATEGORIES)
    # cat: IoU 0.6 and 1 FN; sky: IoU 1
    quality.add(strip('10a 10s'), strip('6a 4b 10s'))
    # cat: IoU 0.8 and 1 FP; dog: FN; sky: IoU 0.6
    quality.add(strip('8a 2b 6s 4.'), strip('10a 10s'))
    quality.add(strip('3. 7s'), strip('3d 7s'))
    cat, dog, sky, sea = quality.per_class()
    assert (cat.category, *cat[4:]) == (CATEGORIES[0], 2, 1, 1)
    assert cat[1:4] == pytest.approx((1.4 / 3, 0.7, 2 / 3))
    assert (dog[1:4], *dog[4:]) == ((0, 0, 0), 0, 0, 1)
    assert sky[1:4] == pytest.approx((2.6 / 3, 2.6 / 3, 1))
    assert sea[1:] == (0, 0, 0, 0, 0, 0)
    # classes that do not occur are left out of the means
    assert quality.mean(True) == pytest.approx((1.4 / 6, 0.35, 1 / 3, 2))
    assert quality.mean(False) == pytest.approx((2.6 / 3, 2.6 / 3, 1, 1))
    assert quality.mean() == pytest.approx((4 / 9, (0.7 + 2.6 / 3) / 3, 5 / 9, 3))


def test_nothing_at_all():
    quality = PanopticQuality(CATEGORIES)
    quality.add(PanopticMap(np.zeros((0, 0), int), []), PanopticMap(np.zeros((0, 0), int), []))
    assert quality.mean().classes == 0
    assert all(map(math.isnan, quality.mean()[:3]))
    assert '| All | - | - | - | 0 |' in quality_table(quality, classwise=True)


def test_a_true_segment_without_pixels_is_missed():
    truth = PanopticMap(np.zeros((2, 2), int), [Segment(4, CAT, True), Segment(5, CAT, True)])
    found = match_segments(PanopticMap(truth.ids, []), truth)
    assert found[CAT].tolist() == [0, 0, 0, 2]
    with pytest.raises(ValueError, match=r'predicted segments without a pixel: \[4, 5\]'):
        match_segments(truth, truth)


def test_sizes_that_differ():
    with pytest.raises(ValueError, match=r'one size, got \[1, 3\] and \[1, 2\]'):
        match_segments(strip('2a'), strip('3a'))


def test_unknown_categories_change_nothing():
    quality = PanopticQuality(CATEGORIES[1:])
    with pytest.raises(ValueError, match=r'does not have: \[1\]'):
        quality.add(strip('5a 5s'), strip('5a 5s'))
    assert not quality.counts.any()
    with pytest.raises(ValueError, match='one id'):
        PanopticQuality(CATEGORIES + CATEGORIES[:1])


def loops(pictures):
    """A second account of the rules: a loop over pairs of segments, a mask for each."""
    totals = defaultdict(lambda: np.zeros(4))
    for prediction, truth in pictures:
        void = truth.ids == 0
        matched = set()
        for mine in prediction.segments:
            mask = prediction.ids == mine.id
            hit = False
            ignored = (mask & void).sum()
            for other in truth.segments:
                true = truth.ids == other.id
                if other.category_id != mine.category_id:
                    continue
                if other.iscrowd:
                    ignored += (mask & true).sum()
                    continue
                iou = (mask & true).sum() / ((mask | true) & ~(mask & void)).sum()
                if iou > 0.5:
                    assert other.id not in matched
                    matched.add(other.id)
                    hit = True
                    totals[mine.category_id] += [iou, 1, 0, 0]
            if not hit and not ignored / mask.sum() > 0.5:
                totals[mine.category_id] += [0, 0, 1, 0]
        for other in truth.segments:
            if other.id not in matched and not other.iscrowd:
                totals[other.category_id] += [0, 0, 0, 1]
    return totals


def random_picture(random, shape, count):
    """Rectangles over one another; ids far apart and in no order."""
    ids = np.zeros(shape, np.int64)
    for number in random.permutation(np.arange(1, count + 1)) * 99991 % 2**24:
        y, x = random.integers(0, shape[0]), random.integers(0, shape[1])
        height, width = random.integers(1, shape[0] + 1), random.integers(1, shape[1] + 1)
        ids[y : y + height, x : x + width] = number
    return ids


def described(random, ids, crowds):
    segments = []
    for number in random.permutation(np.unique(ids[ids > 0])):
        category = CATEGORIES[random.integers(len(CATEGORIES))]
        crowd = crowds and category.isthing and random.random() < 0.3
        segments.append(Segment(int(number), category.id, category.isthing, iscrowd=bool(crowd)))
    return PanopticMap(ids, segments)


def random_pairs(seed, number=40, shape=(17, 23)):
    """Predictions that are the truth with some segments changed, so that much does match."""
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(number):
        truth = described(random, random_picture(random, shape, random.integers(0, 9)), True)
        ids = truth.ids.copy()
        for _ in range(random.integers(0, 4)):
            y, x = random.integers(0, shape[0]), random.integers(0, shape[1])
            ids[y : y + 6, x : x + 6] = random.choice([0, 12345, *np.unique(ids)])
        prediction = described(random, ids, False)
        classes = {segment.id: segment.category_id for segment in truth.segments}
        things = {category.id: category.isthing for category in CATEGORIES}
        kept = [
            Segment(s.id, classes[s.id], things[classes[s.id]])
            if s.id in classes and random.random() < 0.8
            else s
            for s in prediction.segments
        ]
        pairs.append((PanopticMap(ids, kept), truth))
    return pairs


@pytest.mark.parametrize('seed', range(5))
def test_a_second_account_of_the_rules(seed):
    pairs = random_pairs(seed)
    quality = PanopticQuality(CATEGORIES)
    for prediction, truth in pairs:
        found = quality.add(prediction, truth)
        expected = loops([(prediction, truth)])
        assert set(found) == set(expected)
        for category, values in expected.items():
            np.testing.assert_allclose(found[category], values, rtol=1e-12)
    totals = loops(pairs)
    assert (sum(totals.values()) > 20).all()
    for row in quality.per_class():
        iou, hits, wrong, missed = totals[row.category.id]
        assert row[4:] == (hits, wrong, missed)
        assert row.pq == pytest.approx(iou / (hits + wrong / 2 + missed / 2))
        assert row.pq == pytest.approx(row.sq * row.rq)


def test_order_and_numbering_do_not_matter():
    pairs = random_pairs(9)
    first = PanopticQuality(CATEGORIES)
    for pair in pairs:
        first.add(*pair)
    second = PanopticQuality(CATEGORIES)
    for prediction, truth in pairs[::-1]:
        changed = [renumbered(prediction, 3), renumbered(truth, 11)]
        second.add(*changed)
    np.testing.assert_allclose(second.counts, first.counts, rtol=1e-12)


def renumbered(panoptic, step):
    """Other ids, segments in the opposite order, the picture on its side."""
    ids, segments = np.zeros_like(panoptic.ids), []
    for number, segment in enumerate(panoptic.segments[::-1], start=1):
        ids[panoptic.ids == segment.id] = number * step
        segments.append(
            Segment(number * step, segment.category_id, segment.isthing, iscrowd=segment.iscrowd)
        )
    return PanopticMap(ids.T, segments)


def test_merged_parts_equal_the_whole():
    pairs = random_pairs(4)
    whole, part, other = (PanopticQuality(CATEGORIES) for _ in range(3))
    for index, pair in enumerate(pairs):
        whole.add(*pair)
        (part if index % 3 else other).add(*pair)
    part.merge(other)
    np.testing.assert_allclose(part.counts, whole.counts, rtol=1e-12)
    assert whole.mean() == pytest.approx(part.mean())
    with pytest.raises(ValueError, match='same categories'):
        part.merge(PanopticQuality(CATEGORIES[::-1]))


def test_the_table():
    quality = PanopticQuality(CATEGORIES)
    quality.add(strip('10a 10s'), strip('6a 4b 10s'))
    lines = quality_table(quality, classwise=True).splitlines()
    assert lines[2:5] == [
        '| All | 70.00 | 80.00 | 83.33 | 2 |',
        '| Things | 40.00 | 60.00 | 66.67 | 1 |',
        '| Stuff | 100.00 | 100.00 | 100.00 | 1 |',
    ]
    assert lines[8:] == [
        '| cat | thing | 40.00 | 60.00 | 66.67 | 1 | 0 | 1 |',
        '| sky | stuff | 100.00 | 100.00 | 100.00 | 1 | 0 | 0 |',
    ]
    assert quality_table(quality).splitlines() == lines[:5]
