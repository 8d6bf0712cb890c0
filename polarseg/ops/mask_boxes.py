"""Where the pixels of masks are."""

import torch
from torch import Tensor

__all__ = ['mask_boxes']


def mask_boxes(masks: Tensor) -> Tensor:
    """The smallest box round the pixels of each mask.

    Every mask is read once, at the speed of memory. Work is done on the host: masks of another
    device are copied there.

    Args:
        masks: ``[N, H, W]`` uint8 or bool, non-zero inside.

    Returns:
        ``[N, 4]`` int64 x1, y1, x2, y2 on the device of the masks: the first column and row with a
        pixel, and those behind the last (as ``BitmapMasks.get_bboxes`` of mmdet has them). Four
        zeros of a mask without a pixel.

    Raises:
        TypeError: if the masks have another dtype.
        ValueError: if they have another number of dimensions.
    """
    return torch.ops.polarseg.mask_boxes(masks)


@torch.library.register_fake('polarseg::mask_boxes')
def _fake_mask_boxes(masks: Tensor) -> Tensor:
    """Shape and dtype of the result, for tracing without data."""
    if masks.dtype not in (torch.uint8, torch.bool):
        raise TypeError(f'mask_boxes: masks must be uint8 or bool, got {masks.dtype}.')
    if masks.dim() != 3:
        raise ValueError(f'mask_boxes: masks must have shape (n, h, w), got {list(masks.shape)}.')
    return masks.new_empty((masks.shape[0], 4), dtype=torch.int64)
