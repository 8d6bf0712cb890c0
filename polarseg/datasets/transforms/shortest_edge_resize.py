"""Resizing by the shorter side, with the rounding of the published models."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import Resize
from PIL import Image

from polarseg.registry import TRANSFORMS

__all__ = ['ShortestEdgeResize', 'shortest_edge_size']

ROUNDINGS = ('half_up', 'truncate')
SAMPLINGS = ('choice', 'range')


def shortest_edge_size(
    size: tuple[int, int], short_side: int, max_size: int | None, rounding: str = 'half_up'
) -> tuple[int, int]:
    """The size that gives a picture's shorter side a length, within a longest side.

    Args:
        size: height and width of the picture, pixels.
        short_side: wanted length of the shorter side, pixels.
        max_size: largest length of the longer side; None is no limit.
        rounding: ``'half_up'`` (CenterMask2, BlendMask) scales both sides as floats, down again if
            the longer one exceeds ``max_size``, and rounds both. ``'truncate'`` (the original
            CenterMask) keeps the shorter side as asked, or ``round(max_size * short / long)`` where
            the longer one would exceed ``max_size``, and truncates the other.

    Returns:
        New height and width, pixels, at least 1.
    """
    height, width = size
    short, long = min(size), max(size)
    if rounding == 'truncate':
        if max_size is not None and long / short * short_side > max_size:
            short_side = round(max_size * short / long)
        short_side = max(short_side, 1)
        other = int(short_side * long / short)
        return (short_side, other) if height <= width else (other, short_side)
    scale = short_side / short
    # as published, in this order: another one can round to another pixel
    if height < width:
        new_height, new_width = float(short_side), scale * width
    else:
        new_height, new_width = scale * height, float(short_side)
    longer = max(new_height, new_width)
    if max_size is not None and longer > max_size:
        again = max_size / longer
        new_height, new_width = new_height * again, new_width * again
    return max(int(new_height + 0.5), 1), max(int(new_width + 0.5), 1)


class _PillowResize(Resize):
    """mmdet's, also for label maps of int32, which mmcv keeps from Pillow."""

    def _resize_seg(self, results: dict) -> None:
        labels = results.get('gt_seg_map')
        if labels is None:
            return
        if labels.dtype not in (np.uint8, np.int32):
            raise ValueError(f'gt_seg_map must be uint8 or int32 to be resized, got {labels.dtype}')
        height, width = results['img_shape'][:2]
        resized = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
        results['gt_seg_map'] = np.array(resized)


@TRANSFORMS.register_module()
class ShortestEdgeResize(BaseTransform):
    """Resize a picture to a length of its shorter side, by Pillow's bilinear filter.

    The published sizes can differ by a pixel from those of mmdet's ``Resize(keep_ratio=True)``, and
    Pillow smooths on shrinking, which OpenCV does not. Boxes and polygons are scaled by new over
    old size along each axis; bitmaps and label maps (uint8 or int32) by their nearest pixel.
    Everything but the choice of the size is mmdet's ``Resize``, its keys included (``scale_factor``
    is (x, y)).

    Args:
        scales: lengths of the shorter side, pixels: one, or those to draw from for each picture by
            numpy's global generator.
        max_size: largest length of the longer side; None is no limit.
        sampling: ``'choice'`` draws one of ``scales``; ``'range'`` takes two of them and draws
            among all integers from the first to the second, both included.
        rounding: see :func:`shortest_edge_size`.
        clip_object_border: clip boxes to the resized picture.

    Raises:
        ValueError: unknown ``sampling`` or ``rounding``, or ``scales`` or ``max_size`` that are no
            lengths.
    """

    def __init__(
        self,
        scales: Sequence[int] | int,
        max_size: int | None = None,
        sampling: str = 'choice',
        rounding: str = 'half_up',
        clip_object_border: bool = True,
    ) -> None:
        scales = [scales] if isinstance(scales, int) else list(scales)
        if not scales or not all(isinstance(s, int) and s > 0 for s in scales):
            raise ValueError(f'scales must be lengths in whole pixels, got {scales}')
        if max_size is not None and max_size <= 0:
            raise ValueError(f'max_size must be positive or None, got {max_size}')
        if sampling not in SAMPLINGS:
            raise ValueError(f'sampling must be one of {SAMPLINGS}, got {sampling!r}')
        if sampling == 'range' and (len(scales) != 2 or scales[0] > scales[1]):
            raise ValueError(f"sampling='range' takes scales [low, high], got {scales}")
        if rounding not in ROUNDINGS:
            raise ValueError(f'rounding must be one of {ROUNDINGS}, got {rounding!r}')
        self.scales = scales
        self.max_size = max_size
        self.sampling = sampling
        self.rounding = rounding
        self.clip_object_border = clip_object_border
        self.resize = _PillowResize(
            scale=(1, 1), clip_object_border=clip_object_border, backend='pillow'
        )

    def draw(self) -> int:
        """A length of the shorter side, pixels."""
        # numpy's global generator is the one that mmengine seeds in every loader process
        if self.sampling == 'range':
            return int(np.random.randint(self.scales[0], self.scales[1] + 1))  # noqa: NPY002
        if len(self.scales) == 1:
            return self.scales[0]
        return int(np.random.choice(self.scales))  # noqa: NPY002

    def transform(self, results: dict) -> dict:
        """Resize one picture (``img``, uint8) and what is annotated on it."""
        size = results['img'].shape[:2]
        height, width = shortest_edge_size(size, self.draw(), self.max_size, self.rounding)
        self.resize.scale = (width, height)
        return self.resize(results)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(scales={self.scales}, max_size={self.max_size}, '
            f'sampling={self.sampling!r}, rounding={self.rounding!r}, '
            f'clip_object_border={self.clip_object_border})'
        )
