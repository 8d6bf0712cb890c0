"""Panoptic quality (arXiv 1801.00868, section 4) by the rules of COCO, in numpy alone."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from polarseg.structures import PanopticMap
from polarseg.structures.panoptic import count_pairs
from polarseg.structures.panoptic_files import Category

__all__ = ['ClassQuality', 'PanopticQuality', 'Quality', 'match_segments', 'quality_table']

MATCH_IOU = 0.5
"""Segments match above it; no two of a picture can then match the same one."""
IGNORED_SHARE = 0.5
"""An unmatched prediction with more than this share on void or crowd is no false positive."""

Counts = Mapping[int, Sequence[float]]
"""For each category id: sum of the IoU of matches, true positives, false positives, negatives."""


class Quality(NamedTuple):
    """Means over classes, in [0, 1]; not a number where no class occurs.

    Args:
        pq: panoptic quality.
        sq: segmentation quality, the mean IoU of the matches.
        rq: recognition quality, the F1 score of detection.
        classes: number of classes that occur in ground truth or predictions.
    """

    pq: float
    sq: float
    rq: float
    classes: int


class ClassQuality(NamedTuple):
    """One class: its category, qualities in [0, 1], and counts of segments."""

    category: Category
    pq: float
    sq: float
    rq: float
    true_positives: int
    false_positives: int
    false_negatives: int


def match_segments(prediction: PanopticMap, truth: PanopticMap) -> dict[int, np.ndarray]:
    """What one picture adds to the panoptic quality of each category.

    A predicted and a true segment of one category match where their IoU is above 0.5. Pixels that
    are void in the truth do not count for the union. Crowd segments are not to be found: they
    match nothing and are no false negatives. An unmatched prediction is no false positive where
    more than half of it is void in the truth or lies on crowds of its category.

    Where a picture has several crowds of one category, all of them count; the reference
    evaluator looks at the last (COCO has one at most).

    Args:
        prediction: every segment has pixels.
        truth: of the same size, with the same category ids.

    Returns:
        For each category id in the picture ``[4]`` float64: sum of the IoU of the matches, true
        positives, false positives, false negatives.

    Raises:
        ValueError: if the sizes differ or a predicted segment has no pixel.
    """
    empty = [segment.id for segment in prediction.segments if segment.area == 0]
    if empty:
        raise ValueError(f'predicted segments without a pixel: {empty}')
    overlaps, void = _overlaps(prediction, truth)
    true_areas, true_classes, crowd = _columns(truth)
    areas, classes, _ = _columns(prediction)
    same = true_classes[:, None] == classes
    unions = true_areas[:, None] + areas - overlaps - void
    ious = np.divide(overlaps, unions, out=np.zeros(overlaps.shape), where=unions > 0)
    matches = same & ~crowd[:, None] & (ious > MATCH_IOU)

    on_crowd = np.where(same & crowd[:, None], overlaps, 0).sum(axis=0)
    ignored = (void + on_crowd) / areas > IGNORED_SHARE
    missed = ~matches.any(axis=1) & ~crowd
    wrong = ~matches.any(axis=0) & ~ignored
    found: dict[int, np.ndarray] = {}
    matched_ious = np.where(matches, ious, 0).sum(axis=0)
    for column, values, numbers in (
        (0, matched_ious, classes),
        (1, matches.any(axis=0), classes),
        (2, wrong, classes),
        (3, missed, true_classes),
    ):
        for number, value in zip(numbers[values > 0].tolist(), values[values > 0].tolist()):
            found.setdefault(number, np.zeros(4))[column] += value
    return found


def _overlaps(prediction: PanopticMap, truth: PanopticMap) -> tuple[np.ndarray, np.ndarray]:
    """Shared pixels ``[true segments, predicted segments]``, and those on void ``[predicted]``."""
    true_ids, ids, counts = count_pairs(truth.ids, prediction.ids)
    # row and column 0 are void's
    shared = np.zeros((len(truth.segments) + 1, len(prediction.segments) + 1), np.int64)
    shared[truth.positions(true_ids), prediction.positions(ids)] = counts
    return shared[1:, 1:], shared[0, 1:]


def _columns(panoptic: PanopticMap) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Areas, category ids and crowd flags of the segments."""
    segments = panoptic.segments
    return (
        np.array([segment.area for segment in segments], np.int64),
        np.array([segment.category_id for segment in segments], np.int64),
        np.array([segment.iscrowd for segment in segments], bool),
    )


class PanopticQuality:
    """PQ, SQ and RQ over pictures.

    Args:
        categories: of the data set; no other may occur.

    Raises:
        ValueError: if two categories have one id.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.categories = list(categories)
        self._rows = {category.id: row for row, category in enumerate(self.categories)}
        if len(self._rows) < len(self.categories):
            raise ValueError('two categories have one id')
        self.counts = np.zeros((len(self.categories), 4))

    def add(self, prediction: PanopticMap, truth: PanopticMap) -> dict[int, np.ndarray]:
        """Take in a picture; see :func:`match_segments` for arguments, result and errors."""
        found = match_segments(prediction, truth)
        self.add_counts(found)
        return found

    def add_counts(self, counts: Counts) -> None:
        """Take in what :func:`match_segments` found in a picture.

        Raises:
            ValueError: if there is a category that the data set lacks; nothing is taken in then.
        """
        strange = sorted(set(counts) - set(self._rows))
        if strange:
            raise ValueError(f'segments of categories that the data set does not have: {strange}')
        for number, values in counts.items():
            self.counts[self._rows[number]] += values

    def merge(self, other: 'PanopticQuality') -> None:
        """Take in the pictures of another with the same categories.

        Raises:
            ValueError: if the categories differ.
        """
        if other.categories != self.categories:
            raise ValueError('only results over the same categories can be merged')
        self.counts += other.counts

    def per_class(self) -> list[ClassQuality]:
        """Every category in the given order; all zeros where it does not occur."""
        rows = []
        for category, (iou, hits, wrong, missed) in zip(self.categories, self.counts.tolist()):
            sq = iou / hits if hits else 0.0
            rq = hits / (hits + (wrong + missed) / 2) if hits else 0.0
            pq = iou / (hits + (wrong + missed) / 2) if hits else 0.0
            rows.append(ClassQuality(category, pq, sq, rq, int(hits), int(wrong), int(missed)))
        return rows

    def mean(self, isthing: bool | None = None) -> Quality:
        """Means over the classes that occur.

        Args:
            isthing: only things, or only stuff; None for all.
        """
        kept = [
            row
            for row in self.per_class()
            if isthing in (None, row.category.isthing)
            and row.true_positives + row.false_positives + row.false_negatives
        ]
        if not kept:
            return Quality(math.nan, math.nan, math.nan, 0)
        means = (math.fsum(row[column] for row in kept) / len(kept) for column in (1, 2, 3))
        return Quality(*means, len(kept))


def quality_table(quality: PanopticQuality, classwise: bool = False) -> str:
    """Markdown of the means (All, Things, Stuff) and of each class that occurs, in percent.

    Args:
        quality: the results.
        classwise: with a row and the counts of segments for each class.
    """
    lines = ['| | PQ | SQ | RQ | classes |', '|---|---|---|---|---|']
    for name, isthing in (('All', None), ('Things', True), ('Stuff', False)):
        *values, classes = quality.mean(isthing)
        lines.append(f'| {name} | {" | ".join(map(_percent, values))} | {classes} |')
    if not classwise:
        return '\n'.join(lines)
    lines += ['', '| class | | PQ | SQ | RQ | TP | FP | FN |', '|---|---|---|---|---|---|---|---|']
    for category, pq, sq, rq, *counts in quality.per_class():
        if any(counts):
            kind = 'thing' if category.isthing else 'stuff'
            cells = [category.name, kind, *map(_percent, (pq, sq, rq)), *map(str, counts)]
            lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def _percent(share: float) -> str:
    return '-' if math.isnan(share) else f'{100 * share:.2f}'
