"""Training targets of a batch, as far as the dense heads of all three systems share them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from polarseg.models.task_modules.point_assigner import PointAssigner

__all__ = ['PointTargets', 'box_centerness', 'point_targets']


class PointTargets(NamedTuple):
    """Targets of a batch of B pictures with N locations each, K of the B * N positive.

    Attributes:
        labels: ``[B * N]`` int64 class, ``num_classes`` for background.
        positive: ``[K]`` int64 indices of the positive locations among the B * N.
        points: ``[K, 2]`` float32 the positive locations, pixels.
        strides: ``[K]`` float32 strides of their levels, pixels.
        distances: ``[K, 4]`` float32 left, top, right, bottom to the box, pixels.
        gt_index: ``[K]`` int64 the instance that each answers for, counted through the batch:
            pictures without instances add nothing to the count.
    """

    labels: Tensor
    positive: Tensor
    points: Tensor
    strides: Tensor
    distances: Tensor
    gt_index: Tensor


def point_targets(
    assigner: PointAssigner,
    points: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    batch_gt_instances: Sequence[InstanceData],
    num_classes: int,
) -> PointTargets:
    """Assign the locations of all pictures of a batch at once.

    Args:
        assigner: does it.
        points: ``[H_l * W_l, 2]`` locations of each level, row by row, pixels.
        sizes: (H_l, W_l) of the levels.
        strides: of the levels, pixels.
        batch_gt_instances: for each picture ``bboxes`` ``[G, 4]``, ``labels`` ``[G]`` and, where
            the assigner asks for them, mass ``centers`` ``[G, 2]``. G may be 0.
        num_classes: label of the background.
    """
    grids = [level.unflatten(0, size) for level, size in zip(points, sizes)]
    counts = [len(instances) for instances in batch_gt_instances]
    picture = torch.from_numpy(np.arange(len(counts)).repeat(counts))
    centers = [instances.get('centers') for instances in batch_gt_instances]
    found = assigner(
        grids,
        strides,
        torch.cat([instances.bboxes for instances in batch_gt_instances]),
        None if any(one is None for one in centers) else torch.cat(centers),
        picture.to(points[0].device),
        len(counts),
    )
    gt_labels = torch.cat([instances.labels for instances in batch_gt_instances])
    labels = gt_labels.new_full((len(counts) * sum(map(len, points)),), num_classes)
    labels[found.positive] = gt_labels[found.gt_index]
    own_strides = points[0].new_tensor(strides)[found.level]
    return PointTargets(
        labels, found.positive, found.points, own_strides, found.distances, found.gt_index
    )


def box_centerness(distances: Tensor) -> Tensor:
    """FCOS' centerness sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)) (its equation 3).

    Args:
        distances: ``[K, 4]`` left, top, right, bottom, positive, in any unit.

    Returns:
        ``[K]`` in (0, 1].
    """
    sides = distances.reshape(-1, 2, 2)  # [K, (left top, right bottom), (x, y)]
    return (sides.amin(dim=1) / sides.amax(dim=1)).prod(dim=1).sqrt()
