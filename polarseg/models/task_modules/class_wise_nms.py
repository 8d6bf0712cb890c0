"""Box NMS inside each class."""

from typing import Any

import torch
from mmcv.ops import nms, soft_nms
from torch import Tensor

__all__ = ['NMS_FUNCTIONS', 'class_wise_nms']

NMS_FUNCTIONS = {'nms': nms, 'soft_nms': soft_nms}

SMALL_CLASS = 32
"""Boxes up to which a class goes into the one comparison of all pairs. A call of mmcv's operator
costs as much as some thousand pairs; for more boxes it is the quicker way."""


def class_wise_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor, type: str = 'nms', **arguments: Any
) -> tuple[Tensor, Tensor]:
    """Suppress boxes that overlap a better one of their own class.

    Classes are told apart by their labels rather than, as in mmcv's ``batched_nms``, by moving
    them apart by multiples of the picture's size: that costs up to seven bits of the coordinates in
    float32 and turns decisions at the threshold.

    Args:
        boxes: ``[M, 4]`` float32 x1, y1, x2, y2.
        scores: ``[M]`` float32.
        labels: ``[M]`` int64.
        type: 'nms' or 'soft_nms' of mmcv.
        arguments: of that function, such as ``iou_threshold`` and ``offset`` (1 if boxes name their
            last pixel, else 0).

    Returns:
        Indices that survive, class after class and best first in each, and their scores (soft NMS
        lowers them).
    """
    function = NMS_FUNCTIONS[type]
    by_class = labels.argsort(stable=True)
    sizes = labels.unique(return_counts=True)[1].tolist()
    kept, kept_scores, small = [labels.new_zeros(0)], [scores.new_zeros(0)], []
    plain = type == 'nms' and set(arguments) <= {'iou_threshold', 'offset'}
    for rows in by_class.split(sizes):
        if plain and len(rows) <= SMALL_CLASS:
            small.append(rows)
            continue
        found, keep = function(boxes[rows], scores[rows], **arguments)
        kept.append(rows[keep])
        kept_scores.append(found[:, 4])
    if small:
        kept.append(_compare_pairs(boxes, scores, labels, torch.cat(small), **arguments))
        kept_scores.append(scores[kept[-1]])
    index, scores = torch.cat(kept), torch.cat(kept_scores)
    order = labels[index].argsort(stable=True)
    return index[order], scores[order]


def _compare_pairs(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    rows: Tensor,
    iou_threshold: float,
    offset: int = 0,
) -> Tensor:
    """The same for classes of few boxes at once: ``rows`` that survive, best first in a class."""
    rows = rows[scores[rows].argsort(descending=True, stable=True)]
    rows = rows[labels[rows].argsort(stable=True)]
    better, worse = _pairs_of_runs(labels[rows])

    x1, y1, x2, y2 = boxes[rows].unbind(dim=1)
    areas = (x2 - x1 + offset) * (y2 - y1 + offset)
    width = torch.minimum(x2[better], x2[worse]) - torch.maximum(x1[better], x1[worse]) + offset
    height = torch.minimum(y2[better], y2[worse]) - torch.maximum(y1[better], y1[worse]) + offset
    overlap = width.clamp(min=0) * height.clamp(min=0)
    iou = overlap / (areas[better] + areas[worse] - overlap)
    hit = iou > iou_threshold
    better, worse = better[hit], worse[hit]

    # A box stands if no better box that stands hits it. Each round settles at least the next best
    # box of every class, so what no longer changes is what one box after the other would give.
    stands = torch.ones_like(rows, dtype=torch.bool)
    while True:
        settled = torch.ones_like(stands)
        settled[worse[stands[better]]] = False
        if torch.equal(settled, stands):
            return rows[stands]
        stands = settled


def _pairs_of_runs(values: Tensor) -> tuple[Tensor, Tensor]:
    """Positions (i, j), i < j, of all pairs inside the runs of equal ``values``."""
    _, run, lengths = values.unique_consecutive(return_inverse=True, return_counts=True)
    position = torch.arange(len(values), device=values.device)
    partners = lengths.cumsum(0)[run] - position - 1
    first = position.repeat_interleave(partners)
    number = torch.arange(len(first), device=values.device)
    return first, number - (partners.cumsum(0) - partners)[first] + first + 1
