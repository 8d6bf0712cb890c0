"""Training targets of a batch, as far as the dense heads of all three systems share them."""

from collections.abc import Sequence
from typing import NamedTuple

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
    """Assign the locations of every picture of a batch.

    Args:
        assigner: does it for one picture.
        points: ``[H_l * W_l, 2]`` locations of each level, row by row, pixels.
        sizes: (H_l, W_l) of the levels.
        strides: of the levels, pixels.
        batch_gt_instances: for each picture ``bboxes`` ``[G, 4]``, ``labels`` ``[G]`` and, where
            the assigner asks for them, mass ``centers`` ``[G, 2]``. G may be 0.
        num_classes: label of the background.
    """
    all_points = torch.cat(tuple(points))
    counts = torch.tensor([len(level) for level in points], device=all_points.device)
    all_strides = all_points.new_tensor(strides).repeat_interleave(
        counts, output_size=len(all_points)
    )
    grids = [level.unflatten(0, size) for level, size in zip(points, sizes)]
    labels, positive, distances, gt_index, first_instance = [], [], [], [], 0
    for picture, instances in enumerate(batch_gt_instances):
        assigned = assigner(grids, strides, instances.bboxes, instances.get('centers'))
        rows = assigned.positive
        own = assigned.gt_index[rows]
        own_labels = torch.full_like(assigned.gt_index, num_classes)
        own_labels[rows] = instances.labels[own]
        labels.append(own_labels)
        positive.append(rows + picture * len(all_points))
        distances.append(assigned.distances[rows])
        gt_index.append(own + first_instance)
        first_instance += len(instances)
    positive = torch.cat(positive)
    location = positive % len(all_points)
    return PointTargets(
        torch.cat(labels),
        positive,
        all_points[location],
        all_strides[location],
        torch.cat(distances),
        torch.cat(gt_index),
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
