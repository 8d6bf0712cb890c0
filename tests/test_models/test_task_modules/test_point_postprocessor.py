"""Scores, top-k, threshold and class-wise NMS against plain Python."""

import numpy as np
import pytest
import torch

from polarseg.models.task_modules import PointPostprocessor

NMS = dict(type='nms', iou_threshold=0.5)


def iou(first, second, edge):
    width = min(first[2], second[2]) - max(first[0], second[0]) + edge
    height = min(first[3], second[3]) - max(first[1], second[1]) + edge
    overlap = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0] + edge) * (b[3] - b[1] + edge) for b in (first, second)]
    return overlap / (sum(areas) - overlap)


def slow(boxes, probabilities, centerness, offset, threshold, inclusive, iou_threshold=0.5):
    """(score, label, row) of the detections by falling score."""
    edge = 1 if inclusive else 0
    kept = []
    for label in range(len(probabilities[0])):
        rows = [row for row, p in enumerate(probabilities) if p[label] > threshold]
        scored = [(probabilities[row][label] * (centerness[row] + offset), row) for row in rows]
        own = []
        for score, row in sorted(scored, reverse=True):
            if all(iou(boxes[row], boxes[other], edge) <= iou_threshold for _, other in own):
                own.append((score, row))
        kept += [(score, label, row) for score, row in own]
    return sorted(kept, reverse=True)


def detect(postprocess, boxes, probabilities, centerness):
    """Detections among the locations of one level; ``index`` is that of the location."""
    chosen = postprocess.select(probabilities, centerness)
    found = postprocess(boxes[chosen.index], chosen.scores, chosen.labels)
    return found._replace(index=chosen.index[found.index])


def random_candidates(seed, count=60, classes=3, size=100):
    rng = np.random.default_rng(seed)
    centers = rng.uniform(10, size - 10, (count, 2))
    half = rng.uniform(1, 20, (count, 2))
    boxes = np.concatenate([centers - half, centers + half], 1).astype(np.float32)
    probabilities = rng.uniform(size=(count, classes)).astype(np.float32) ** 3
    centerness = rng.uniform(size=count).astype(np.float32)
    return tuple(map(torch.from_numpy, (boxes, probabilities, centerness)))


@pytest.mark.parametrize('inclusive', [False, True])
@pytest.mark.parametrize('offset', [0.0, 0.5])
@pytest.mark.parametrize('seed', range(4))
def test_against_plain_python(seed, offset, inclusive):
    boxes, probabilities, centerness = random_candidates(seed)
    postprocess = PointPostprocessor(
        score_thr=0.05,
        centerness_offset=offset,
        nms=NMS,
        max_per_img=1000,
        inclusive_boxes=inclusive,
    )
    found = detect(postprocess, boxes, probabilities, centerness)
    expected = slow(
        boxes.tolist(), probabilities.tolist(), centerness.tolist(), offset, 0.05, inclusive
    )
    assert len(found.index) == len(expected) < (probabilities > 0.05).sum()
    assert found.index.tolist() == [row for _, _, row in expected]
    assert found.labels.tolist() == [label for _, label, _ in expected]
    assert found.scores.tolist() == pytest.approx([score for score, _, _ in expected], rel=1e-5)
    assert torch.equal(found.bboxes, boxes[found.index])


def test_the_box_convention_decides_near_the_threshold():
    """3 x 3 beside 3 x 3 shifted by one: 6 of 12, or 12 of 20 with the last pixel."""
    boxes = torch.tensor([[0.0, 0, 3, 3], [1.0, 0, 4, 3]])
    scores, labels = torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.long)
    kept = {
        inclusive: len(
            PointPostprocessor(nms=dict(iou_threshold=0.55), inclusive_boxes=inclusive)(
                boxes, scores, labels
            ).index
        )
        for inclusive in (False, True)
    }
    assert kept == {False: 2, True: 1}


def test_iou_at_the_threshold_is_kept():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 5]])
    labels = torch.zeros(2, dtype=torch.long)
    found = PointPostprocessor(nms=NMS)(boxes, torch.tensor([0.9, 0.8]), labels)
    assert len(found.index) == 2


def test_classes_do_not_suppress_each_other():
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(2, 1)
    probabilities = torch.tensor([[0.9, 0.2], [0.8, 0.3]])
    found = detect(PointPostprocessor(nms=NMS), boxes, probabilities, torch.ones(2))
    assert list(zip(found.index.tolist(), found.labels.tolist())) == [(0, 0), (1, 1)]


def test_far_away_pixels_keep_their_precision():
    """Boxes of many classes at large coordinates: decisions as for the same boxes at the origin."""
    boxes, probabilities, centerness = random_candidates(7, count=40, classes=80)
    postprocess = PointPostprocessor(nms=NMS, max_per_img=10_000)
    near = detect(postprocess, boxes.round(), probabilities, centerness)
    far = detect(postprocess, boxes.round() + 30_000, probabilities, centerness)
    assert near.index.tolist() == far.index.tolist()
    assert near.labels.tolist() == far.labels.tolist()


# -- selection ------------------------------------------------------------------------------------


def test_locations_are_chosen_by_their_best_class_times_centerness():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.6], [0.5, 0.5], [0.8, 0.7], [0.1, 0.1]])
    centerness = torch.tensor([0.1, 0.9, 0.8, 0.5, 1.0])
    postprocess = PointPostprocessor(nms_pre=3, centerness_offset=0.5, score_thr=0.15)
    chosen = postprocess.select(probabilities, centerness)
    assert chosen.index.tolist() == [1, 1, 2, 2, 3, 3]
    assert chosen.labels.tolist() == [0, 1] * 3
    torch.testing.assert_close(
        chosen.scores, torch.tensor([0.2 * 1.4, 0.6 * 1.4, 0.5 * 1.3, 0.5 * 1.3, 0.8, 0.7])
    )


def test_pairs_are_chosen_by_their_own_score():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.6], [0.5, 0.5], [0.8, 0.7], [0.1, 0.1]])
    centerness = torch.tensor([0.1, 0.9, 0.75, 0.5, 1.0])
    postprocess = PointPostprocessor('pair', nms_pre=3, score_thr=0.5)
    chosen = postprocess.select(probabilities, centerness)
    assert chosen.index.tolist() == [1, 3, 3]
    assert chosen.labels.tolist() == [1, 0, 1]
    torch.testing.assert_close(chosen.scores, torch.tensor([0.54, 0.4, 0.35]))


@pytest.mark.parametrize('thresh_with_ctr', [False, True])
@pytest.mark.parametrize('sqrt_scores', [False, True])
@pytest.mark.parametrize('nms_pre', [0, 7, 10_000])
@pytest.mark.parametrize('seed', range(3))
def test_pairs_against_plain_python(seed, nms_pre, sqrt_scores, thresh_with_ctr):
    _, probabilities, centerness = random_candidates(seed)
    chosen = PointPostprocessor(
        'pair',
        nms_pre=nms_pre,
        score_thr=0.1,
        thresh_with_ctr=thresh_with_ctr,
        sqrt_scores=sqrt_scores,
    ).select(probabilities, centerness)
    expected = {}
    for row, (classes, ctr) in enumerate(zip(probabilities.tolist(), centerness.tolist())):
        for label, p in enumerate(classes):
            if (p * ctr if thresh_with_ctr else p) > 0.1:
                expected[row, label] = (p * ctr) ** 0.5 if sqrt_scores else p * ctr
    best = sorted(expected, key=expected.get, reverse=True)
    if nms_pre:
        best = best[:nms_pre]
    found = list(zip(chosen.index.tolist(), chosen.labels.tolist()))
    assert set(found) == set(best)
    assert len(found) == len(best) > 5
    assert chosen.scores.tolist() == pytest.approx([expected[pair] for pair in found], rel=1e-5)
    if nms_pre == 7:
        assert found == best
    else:
        assert found == sorted(found)


@pytest.mark.parametrize('candidates', ['location', 'pair'])
@pytest.mark.parametrize('nms_pre', [10, 11, 0, -1])
def test_select_keeps_all_in_order(nms_pre, candidates):
    postprocess = PointPostprocessor(candidates, nms_pre=nms_pre, score_thr=-1.0)
    chosen = postprocess.select(torch.rand(5, 2), torch.rand(5))
    assert chosen.index.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert chosen.labels.tolist() == [0, 1] * 5


@pytest.mark.parametrize('candidates', ['location', 'pair'])
@pytest.mark.parametrize('count', [0, 5])
def test_select_of_nothing(candidates, count):
    chosen = PointPostprocessor(candidates, nms_pre=3, sqrt_scores=True).select(
        torch.zeros(count, 2), torch.ones(count)
    )
    assert [tuple(part.shape) for part in chosen] == [(0,)] * 3
    assert chosen.index.dtype == chosen.labels.dtype == torch.int64
    assert chosen.scores.dtype == torch.float32


def test_unknown_candidates():
    with pytest.raises(ValueError, match=r"location.*pair.*'anchor'"):
        PointPostprocessor('anchor')


# -- scores ---------------------------------------------------------------------------------------


def test_the_threshold_is_on_the_class_probability_alone():
    boxes = torch.tensor([[0.0, 0, 1, 1], [5.0, 5, 6, 6], [9.0, 9, 10, 10]])
    probabilities = torch.tensor([[0.06], [0.05], [0.04]])
    centerness = torch.tensor([0.0, 1.0, 1.0])
    found = detect(PointPostprocessor(score_thr=0.05, nms=NMS), boxes, probabilities, centerness)
    assert found.index.tolist() == [0]
    assert found.scores.tolist() == [0.0]


def test_a_score_may_exceed_one_by_the_offset():
    postprocess = PointPostprocessor(centerness_offset=0.5, nms=NMS)
    box = torch.tensor([[0.0, 0, 1, 1]])
    found = detect(postprocess, box, torch.tensor([[0.9]]), torch.ones(1))
    assert found.scores.tolist() == pytest.approx([1.35])


def test_without_nms_all_above_the_threshold_remain():
    boxes, probabilities, centerness = random_candidates(3)
    postprocess = PointPostprocessor(nms=None, score_thr=0.3, max_per_img=0)
    found = detect(postprocess, boxes, probabilities, centerness)
    assert len(found.index) == (probabilities > 0.3).sum()
    assert (found.scores.diff() <= 0).all()
    expected = probabilities[found.index, found.labels] * centerness[found.index]
    torch.testing.assert_close(found.scores, expected)


def test_soft_nms_lowers_scores_instead():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 8], [40.0, 40, 50, 50]])
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.long)
    soft = dict(type='soft_nms', iou_threshold=0.3, method='linear', min_score=0.01)
    found = PointPostprocessor(nms=soft)(boxes, scores, labels)
    assert found.index.tolist() == [0, 2, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * (1 - 0.8)], rel=1e-4)
    torch.testing.assert_close(found.bboxes, boxes[found.index])


@pytest.mark.parametrize('nms', [NMS, None], ids=['nms', 'none'])
@pytest.mark.parametrize(
    ('max_per_img', 'kept'), [(1, 1), (4, 4), (100_000, None), (0, None), (-1, None)]
)
def test_max_per_img_keeps_the_best(nms, max_per_img, kept):
    boxes, probabilities, centerness = random_candidates(5)
    found, everything = (
        detect(PointPostprocessor(nms=nms, max_per_img=limit), boxes, probabilities, centerness)
        for limit in (max_per_img, 10**6)
    )
    assert len(everything.index) > 20
    expected = len(everything.index) if kept is None else kept
    for part, whole in zip(found, everything):
        assert len(part) == expected
        assert torch.equal(part, whole[:expected])


@pytest.mark.parametrize('keep_ties', [False, True])
def test_ties_at_the_cut(keep_ties):
    scores = torch.tensor([0.5, 0.9, 0.5, 0.7, 0.5, 0.4])
    boxes = torch.arange(6.0)[:, None] * 10 + torch.tensor([0.0, 0, 5, 5])
    labels = torch.zeros(6, dtype=torch.long)
    found = PointPostprocessor(nms=NMS, max_per_img=3, keep_ties=keep_ties)(boxes, scores, labels)
    assert found.index.tolist() == ([1, 3, 0, 2, 4] if keep_ties else [1, 3, 0])
    assert torch.equal(found.bboxes, boxes[found.index])


@pytest.mark.parametrize('nms', [NMS, dict(type='soft_nms', iou_threshold=0.5), None], ids=str)
@pytest.mark.parametrize('count', [0, 5])
def test_nothing_found(nms, count):
    found = detect(
        PointPostprocessor(nms=nms),
        torch.zeros(count, 4),
        torch.zeros(count, 3),
        torch.zeros(count),
    )
    assert [tuple(part.shape) for part in found] == [(0,), (0, 4), (0,), (0,)]
    assert found.index.dtype == found.labels.dtype == torch.int64
    assert found.bboxes.dtype == found.scores.dtype == torch.float32


def test_half_precision_candidates_give_float32():
    boxes, probabilities, centerness = random_candidates(2)
    half = (probabilities.bfloat16(), centerness.bfloat16())
    found = detect(PointPostprocessor(nms=NMS), boxes, *half)
    assert found.bboxes.dtype == found.scores.dtype == torch.float32
    assert len(found.index) > 0


def test_boxes_that_are_not_finite_are_left_out():
    boxes, scores = torch.rand(6, 4), torch.linspace(0.9, 0.4, 6)
    boxes[:, 2:] += 10 * torch.arange(6)[:, None] + 1
    boxes[:, :2] += 10 * torch.arange(6)[:, None]
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    boxes[1, 2], boxes[4, 0] = float('inf'), float('nan')
    for nms in (NMS, None):
        found = PointPostprocessor(nms=nms)(boxes, scores, labels)
        assert found.index.tolist() == [0, 2, 3, 5]
        assert torch.equal(found.bboxes, boxes[found.index])
        assert torch.equal(found.scores, scores[found.index])
        assert torch.equal(found.labels, labels[found.index])


def test_unknown_nms():
    with pytest.raises(ValueError, match=r"soft_nms.*'matrix_nms'"):
        PointPostprocessor(nms=dict(type='matrix_nms'))


@pytest.mark.gpu
@pytest.mark.parametrize('inclusive', [False, True])
def test_devices_agree(inclusive):
    candidates = random_candidates(11, count=400, classes=5)
    postprocess = PointPostprocessor(nms=NMS, max_per_img=0, inclusive_boxes=inclusive)
    on_cpu = detect(postprocess, *candidates)
    on_cuda = detect(postprocess, *(part.cuda() for part in candidates))
    assert on_cuda.index.tolist() == on_cpu.index.tolist()
    torch.testing.assert_close(on_cuda.scores.cpu(), on_cpu.scores)
