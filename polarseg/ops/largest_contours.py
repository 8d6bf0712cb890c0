"""The contour that stands for an instance."""

import torch
from torch import Tensor

__all__ = ['largest_contours']


def largest_contours(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Of each mask the outer border that encloses the largest area, every border pixel a point.

    What ``max(contours, key=cv2.contourArea)`` gives of OpenCV's contours (``RETR_TREE``,
    ``CHAIN_APPROX_NONE``), point for point, as PolarMask (arXiv 1909.13226) takes it: Suzuki's and
    Abe's border following (1985), pixels connected at sides and corners. A hole's border never
    encloses more than the one around it, so only outer borders are followed. Among equals the one
    wins whose first pixel comes last, row by row, as with OpenCV. Work is done on the host: masks
    of another device are copied there.

    Args:
        masks: ``[N, H, W]`` uint8 or bool, non-zero inside; H and W up to 2^24.

    Returns:
        ``[P, 2]`` float32 x, y of all contours one after the other, pixels, and ``[N + 1]`` int64
        offsets: contour n is ``points[offsets[n]:offsets[n + 1]]``, of no point where the mask is
        empty. Both on the device of the masks.

    Raises:
        TypeError: if the masks have another dtype.
        ValueError: if they have another number of dimensions, or too long a side.
    """
    return torch.ops.polarseg.largest_contours(masks)


@torch.library.register_fake('polarseg::largest_contours')
def _fake_largest_contours(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Shapes and dtypes of the result, for tracing; the number of points depends on data."""
    if masks.dtype not in (torch.uint8, torch.bool):
        raise TypeError(f'largest_contours: masks must be uint8 or bool, got {masks.dtype}.')
    if masks.dim() != 3:
        shape = list(masks.shape)
        raise ValueError(f'largest_contours: masks must have shape (n, h, w), got {shape}.')
    count = torch.library.get_ctx().new_dynamic_size()
    points = masks.new_empty((count, 2), dtype=torch.float32)
    return points, masks.new_empty((masks.shape[0] + 1,), dtype=torch.int64)
