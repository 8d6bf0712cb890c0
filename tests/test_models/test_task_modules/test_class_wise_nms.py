"""NMS in each class: against plain Python and against mmcv's operator, class by class."""

import pytest
import torch
from mmcv.ops import nms

from polarseg.models.task_modules import class_wise_nms
from polarseg.models.task_modules.class_wise_nms import SMALL_CLASS


def clustered(seed, counts):
    """Boxes of as many classes as counts, in clusters, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(counts)
    middles = torch.rand(max(total // 6, 1), 2, generator=generator) * 200
    centers = middles[torch.randint(len(middles), (total,), generator=generator)]
    centers = centers + torch.randn(total, 2, generator=generator) * 4
    half = torch.rand(total, 2, generator=generator) * 10 + 15
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(total, generator=generator)]
    return (
        torch.cat([centers - half, centers + half], 1),
        torch.rand(total, generator=generator),
        labels,
    )


def one_class_after_the_other(boxes, scores, labels, **arguments):
    kept = []
    for label in range(int(labels.max()) + 1 if len(labels) else 0):
        rows = (labels == label).nonzero()[:, 0]
        kept += rows[nms(boxes[rows], scores[rows], **arguments)[1]].tolist()
    return kept


COUNTS = {
    'small classes': [1, 2, 30, 5, 0, 17],
    'one box': [1],
    'at the limit': [SMALL_CLASS, SMALL_CLASS + 1],
    'both kinds': [3, 200, 1, 60, 12],
    'nothing': [0],
    'many classes': [9] * 80,
}


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.3, 0.6])
@pytest.mark.parametrize('name', COUNTS)
@pytest.mark.parametrize('seed', range(3))
def test_as_class_by_class(seed, name, threshold, offset):
    boxes, scores, labels = clustered(seed, COUNTS[name])
    index, kept_scores = class_wise_nms(
        boxes, scores, labels, iou_threshold=threshold, offset=offset
    )
    expected = one_class_after_the_other(
        boxes, scores, labels, iou_threshold=threshold, offset=offset
    )
    assert index.tolist() == expected
    assert torch.equal(kept_scores, scores[index])
    if max(COUNTS[name]) > 9:
        assert len(expected) < len(boxes)


def test_a_suppressed_box_suppresses_nothing():
    """A chain in which each box hits only the next: every second one stands."""
    left = torch.arange(20.0) * 3
    boxes = torch.stack([left, torch.zeros(20), left + 10, torch.full((20,), 10.0)], 1)
    labels = torch.zeros(20, dtype=torch.long)
    for scores in (torch.linspace(1, 0.1, 20), torch.linspace(0.1, 1, 20)):
        index, _ = class_wise_nms(boxes, scores, labels, iou_threshold=0.5)
        best = int(scores.argmax())
        assert sorted(index.tolist()) == list(range(best % 2, 20, 2))


@pytest.mark.parametrize(('threshold', 'kept'), [(0.6, 2), (0.5999, 1)])
def test_a_pair_exactly_at_the_threshold_stays(threshold, kept):
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6]])
    labels = torch.zeros(2, dtype=torch.long)
    index, _ = class_wise_nms(boxes, torch.tensor([0.9, 0.8]), labels, iou_threshold=threshold)
    assert len(index) == kept


def test_boxes_without_area_stay():
    boxes = torch.tensor([[3.0, 3, 3, 3], [3, 3, 3, 3]])
    labels = torch.zeros(2, dtype=torch.long)
    index, _ = class_wise_nms(boxes, torch.tensor([0.9, 0.8]), labels, iou_threshold=0.5)
    assert index.tolist() == [0, 1]


def test_arguments_of_mmcvs_nms_work():
    boxes, scores, labels = clustered(0, [20, 20])
    index, _ = class_wise_nms(boxes, scores, labels, iou_threshold=0.6, max_num=3)
    assert labels[index].bincount().tolist() == [3, 3]


@pytest.mark.gpu
def test_devices_agree():
    candidates = clustered(0, [3, 200, 1, 60, 12])
    on_cpu = class_wise_nms(*candidates, iou_threshold=0.6)
    on_cuda = class_wise_nms(*(part.cuda() for part in candidates), iou_threshold=0.6)
    assert on_cuda[0].tolist() == on_cpu[0].tolist()
