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
    found = PointPostprocessor(
        score_thr=0.05,
        centerness_offset=offset,
        nms=NMS,
        max_per_img=1000,
        inclusive_boxes=inclusive,
    )(boxes, probabilities, centerness)
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
    probabilities, centerness = torch.tensor([[0.9], [0.8]]), torch.ones(2)
    kept = {
        inclusive: len(
            PointPostprocessor(nms=dict(iou_threshold=0.55), inclusive_boxes=inclusive)(
                boxes, probabilities, centerness
            ).index
        )
        for inclusive in (False, True)
    }
    assert kept == {False: 2, True: 1}


def test_iou_at_the_threshold_is_kept():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 5]])
    found = PointPostprocessor(nms=NMS)(boxes, torch.tensor([[0.9], [0.8]]), torch.ones(2))
    assert len(found.index) == 2


def test_classes_do_not_suppress_each_other():
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(2, 1)
    probabilities = torch.tensor([[0.9, 0.2], [0.8, 0.3]])
    found = PointPostprocessor(nms=NMS)(boxes, probabilities, torch.ones(2))
    assert list(zip(found.index.tolist(), found.labels.tolist())) == [(0, 0), (1, 1)]


def test_far_away_pixels_keep_their_precision():
    """Boxes of many classes at large coordinates: decisions as for the same boxes at the origin."""
    boxes, probabilities, centerness = random_candidates(7, count=40, classes=80)
    postprocess = PointPostprocessor(nms=NMS, max_per_img=10_000)
    near = postprocess(boxes.round(), probabilities, centerness)
    far = postprocess(boxes.round() + 30_000, probabilities, centerness)
    assert near.index.tolist() == far.index.tolist()
    assert near.labels.tolist() == far.labels.tolist()


# -- selection ------------------------------------------------------------------------------------


def test_select_takes_the_best_by_score_times_centerness():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.6], [0.5, 0.5], [0.8, 0.7], [0.1, 0.1]])
    centerness = torch.tensor([0.1, 0.9, 0.8, 0.5, 1.0])
    postprocess = PointPostprocessor(nms_pre=3, centerness_offset=0.5)
    assert postprocess.select(probabilities, centerness).tolist() == [1, 2, 3]


@pytest.mark.parametrize('nms_pre', [5, 6, 0, -1])
def test_select_keeps_all_in_order(nms_pre):
    postprocess = PointPostprocessor(nms_pre=nms_pre)
    chosen = postprocess.select(torch.rand(5, 2), torch.rand(5))
    assert chosen.tolist() == [0, 1, 2, 3, 4]


def test_select_of_nothing():
    assert PointPostprocessor(nms_pre=3).select(torch.zeros(0, 2), torch.zeros(0)).shape == (0,)


# -- scores ---------------------------------------------------------------------------------------


def test_the_threshold_is_on_the_class_probability_alone():
    boxes = torch.tensor([[0.0, 0, 1, 1], [5.0, 5, 6, 6], [9.0, 9, 10, 10]])
    probabilities = torch.tensor([[0.06], [0.05], [0.04]])
    centerness = torch.tensor([0.0, 1.0, 1.0])
    found = PointPostprocessor(score_thr=0.05, nms=NMS)(boxes, probabilities, centerness)
    assert found.index.tolist() == [0]
    assert found.scores.tolist() == [0.0]


def test_a_score_may_exceed_one_by_the_offset():
    postprocess = PointPostprocessor(centerness_offset=0.5, nms=NMS)
    found = postprocess(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[0.9]]), torch.ones(1))
    assert found.scores.tolist() == pytest.approx([1.35])


def test_without_nms_all_above_the_threshold_remain():
    boxes, probabilities, centerness = random_candidates(3)
    found = PointPostprocessor(nms=None, score_thr=0.3, max_per_img=0)(
        boxes, probabilities, centerness
    )
    assert len(found.index) == (probabilities > 0.3).sum()
    assert (found.scores.diff() <= 0).all()
    expected = probabilities[found.index, found.labels] * centerness[found.index]
    torch.testing.assert_close(found.scores, expected)


def test_soft_nms_lowers_scores_instead():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 8], [40.0, 40, 50, 50]])
    probabilities, centerness = torch.tensor([[0.9], [0.8], [0.7]]), torch.ones(3)
    soft = dict(type='soft_nms', iou_threshold=0.3, method='linear', min_score=0.01)
    found = PointPostprocessor(nms=soft)(boxes, probabilities, centerness)
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
        PointPostprocessor(nms=nms, max_per_img=limit)(boxes, probabilities, centerness)
        for limit in (max_per_img, 10**6)
    )
    assert len(everything.index) > 20
    expected = len(everything.index) if kept is None else kept
    for part, whole in zip(found, everything):
        assert len(part) == expected
        assert torch.equal(part, whole[:expected])


@pytest.mark.parametrize('nms', [NMS, dict(type='soft_nms', iou_threshold=0.5), None], ids=str)
@pytest.mark.parametrize('count', [0, 5])
def test_nothing_found(nms, count):
    found = PointPostprocessor(nms=nms)(
        torch.zeros(count, 4), torch.zeros(count, 3), torch.zeros(count)
    )
    assert [tuple(part.shape) for part in found] == [(0,), (0, 4), (0,), (0,)]
    assert found.index.dtype == found.labels.dtype == torch.int64
    assert found.bboxes.dtype == found.scores.dtype == torch.float32


def test_half_precision_candidates_give_float32():
    boxes, probabilities, centerness = random_candidates(2)
    found = PointPostprocessor(nms=NMS)(boxes, probabilities.bfloat16(), centerness.bfloat16())
    assert found.bboxes.dtype == found.scores.dtype == torch.float32
    assert len(found.index) > 0


def test_unknown_nms():
    with pytest.raises(ValueError, match=r"soft_nms.*'matrix_nms'"):
        PointPostprocessor(nms=dict(type='matrix_nms'))


@pytest.mark.gpu
@pytest.mark.parametrize('inclusive', [False, True])
def test_devices_agree(inclusive):
    candidates = random_candidates(11, count=400, classes=5)
    postprocess = PointPostprocessor(nms=NMS, max_per_img=0, inclusive_boxes=inclusive)
    on_cpu = postprocess(*candidates)
    on_cuda = postprocess(*(part.cuda() for part in candidates))
    assert on_cuda.index.tolist() == on_cpu.index.tolist()
    torch.testing.assert_close(on_cuda.scores.cpu(), on_cpu.scores)
