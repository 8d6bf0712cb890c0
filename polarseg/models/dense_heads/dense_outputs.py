"""What the dense heads of all three systems do with the maps that they predict."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from polarseg.models.task_modules import PointPostprocessor

__all__ = ['Candidates', 'flatten_levels', 'select_candidates']


class Candidates(NamedTuple):
    """M pairs of a location and a class of one picture, which NMS chooses from.

    Attributes:
        index: ``[M]`` int64 number of the location among all of the picture: levels in order, in
            each row by row.
        points: ``[M, 2]`` x, y of the location, pixels of the network input.
        scores: ``[M]`` float32 final scores.
        labels: ``[M]`` int64.
        rows: for each kind of map ``[M, D]`` float32 what it says at the location (box distances,
            rays); None for a kind that the head does not predict.
    """

    index: Tensor
    points: Tensor
    scores: Tensor
    labels: Tensor
    rows: tuple[Tensor | None, ...]


def flatten_levels(levels: Sequence[Tensor]) -> Tensor:
    """Maps ``[B, D, H_l, W_l]`` of some levels as float32 rows ``[B * N, D]``.

    Pictures stand in order, in each its levels, in each the locations row by row.
    """
    flat = [level.flatten(2).mT for level in levels]
    return torch.cat(flat, dim=1).flatten(0, 1).float()


def select_candidates(
    picture: int,
    cls_scores: Sequence[Tensor],
    centernesses: Sequence[Tensor],
    others: Sequence[Sequence[Tensor | None]],
    points: Sequence[Tensor],
    postprocess: PointPostprocessor,
) -> Candidates:
    """The candidates of all levels of one picture.

    Only class and centerness are read everywhere, the other maps only where a candidate is.

    Args:
        picture: which one of the batch.
        cls_scores: for each level ``[B, C, H_l, W_l]`` logits.
        centernesses: for each level ``[B, 1, H_l, W_l]`` logits.
        others: for each other kind of map, for each level ``[B, D, H_l, W_l]`` or None.
        points: ``[H_l * W_l, 2]`` locations of each level, row by row.
        postprocess: says which pairs of a level go on.
    """
    parts, first = [], 0
    for level, located in enumerate(points):
        chosen = postprocess.select(
            cls_scores[level][picture].flatten(1).mT.float().sigmoid(),
            centernesses[level][picture].flatten().float().sigmoid(),
        )
        rows = (_read(maps[level], picture, chosen.index) for maps in others)
        points_of_level = located[chosen.index]
        parts.append((chosen.index + first, points_of_level, chosen.scores, chosen.labels, *rows))
        first += len(located)
    columns = [None if column[0] is None else torch.cat(column) for column in zip(*parts)]
    return Candidates(*columns[:4], tuple(columns[4:]))


def _read(maps: Tensor | None, picture: int, index: Tensor) -> Tensor | None:
    return None if maps is None else maps[picture].flatten(1)[:, index].mT.float()
