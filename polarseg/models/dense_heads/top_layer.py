"""A convolution over feature maps that is wanted at few of the locations only."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ['TopLayer']


class TopLayer(nn.Conv2d):
    """3x3 convolution for what a head says beside class, box and centerness at a location.

    BlendMask's attention (arXiv 2001.00309, section 3.1) has 784 channels, which makes this layer a
    quarter (four convolutions in each tower) to a half (three shared ones) of the head's
    arithmetic, but only the positive locations in training and the detections in inference need
    it. :meth:`at` computes it there. The results and the gradients are those of the convolution
    over the whole maps.

    Args:
        in_channels: of the feature maps.
        out_channels: D.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def at(self, levels: Sequence[Tensor], index: Tensor) -> Tensor:
        """The convolution's result at some locations.

        Args:
            levels: ``[B, C, H_l, W_l]`` feature maps.
            index: ``[K]`` int64 locations: pictures stand in order, in each its levels, in each
                the locations row by row. Any order, with repetitions; K may be 0.

        Returns:
            ``[K, D]``.
        """
        areas = [level.shape[-2] * level.shape[-1] for level in levels]
        picture = index.div(sum(areas), rounding_mode='floor')
        location = index % sum(areas)
        patches, places, start = [], [], 0
        for level, area in zip(levels, areas):
            place = ((location >= start) & (location < start + area)).nonzero()[:, 0]
            patches.append(_patches(level, picture[place], location[place] - start))
            places.append(place)
            start += area
        # back into the order that was asked for
        patches = torch.cat(patches)[torch.cat(places).argsort()]
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return nn.functional.linear(patches.flatten(1), weight, self.bias)


def _patches(level: Tensor, picture: Tensor, location: Tensor) -> Tensor:
    """``[K, 9, C]`` 3x3 neighbourhoods row by row, zeros beyond the border."""
    height, width = level.shape[-2:]
    step = torch.arange(-1, 2, device=level.device)
    row = (location // width)[:, None] + step.repeat_interleave(3)
    column = (location % width)[:, None] + step.repeat(3)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
    return level[picture[:, None], :, row, column] * inside[..., None]
