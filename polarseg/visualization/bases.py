"""BlendMask's bases as a picture."""

import cv2
import numpy as np
from torch import Tensor

__all__ = ['draw_bases']

COLUMNS = 2
GAP = 2
SOFTNESS = 8.0


def draw_bases(bases: Tensor, size: tuple[int, int] | None = None) -> np.ndarray:
    """All bases of one picture in two columns, tanh(base / 8) as published.

    Blue is negative, white zero, red positive, the same scale for all.

    Args:
        bases: ``[K, h, w]`` float, any device.
        size: (height, width) of each base in the drawing, pixels; None leaves them as they are.

    Returns:
        ``[H, W, 3]`` uint8 BGR.

    Raises:
        ValueError: if there is no base.
    """
    if bases.dim() != 3 or len(bases) == 0:
        raise ValueError(f'bases must be [K, h, w] with K > 0, got {list(bases.shape)}')
    values = np.tanh(bases.detach().float().cpu().numpy() / SOFTNESS)
    if size is not None:
        height, width = size
        values = np.stack([cv2.resize(base, (width, height)) for base in values])
    height, width = values.shape[1:]
    columns = min(COLUMNS, len(values))
    rows = -(-len(values) // columns)
    canvas = np.full(
        (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 64, dtype=np.uint8
    )
    for number, base in enumerate(values):
        row, column = divmod(number, columns)
        y, x = row * (height + GAP), column * (width + GAP)
        canvas[y : y + height, x : x + width] = _two_sided(base)
    return canvas


def _two_sided(values: np.ndarray) -> np.ndarray:
    """``(h, w)`` in [-1, 1] to BGR: blue, white, red."""
    falling = np.rint(255 * (1 - np.abs(values))).astype(np.uint8)
    full = np.full_like(falling, 255)
    positive = values >= 0
    blue, red = np.where(positive, falling, full), np.where(positive, full, falling)
    return np.stack([blue, falling, red], axis=-1)
