"""Polygons and box masks to COCO run lengths, without a picture for each object."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

__all__ = ['paste_masks_to_rle', 'polygons_to_rle']

FILL_RULES = ('fill', 'fill-4.8', 'fill-4.5', 'coco')
PASTE_RULES = ('half_pixel', 'integer_box')
MAX_PIXELS = 2**31 - 1


def polygons_to_rle(
    polygons: Tensor | Sequence[Tensor | np.ndarray],
    height: int,
    width: int,
    rule: str = 'fill',
) -> list[dict]:
    """Fill polygons and compress them to COCO RLE.

    ``rule='fill'`` is the rule of PolarMask (arXiv 1909.13226): vertices are truncated towards zero
    to whole pixels, then filled as OpenCV 4.11 to 5.0 does (``cv2.fillPoly``, ``cv2.drawContours``
    with ``cv2.FILLED``), outline included, even-odd where a polygon crosses itself. The result is,
    byte for byte, pycocotools' encoding of that mask. Earlier OpenCVs fill differently:
    ``'fill-4.5'`` is the rule up to 4.7, with which the published models were tested; it differs
    from ``'fill'`` only for polygons that reach beyond the picture, which PolarMask's never do.
    ``'fill-4.8'`` is the rule of 4.8 to 4.10.

    ``rule='coco'`` is COCO's own rule for polygons of annotations,
    ``pycocotools.mask.frPyObjects([polygon.ravel()], height, width)``.

    A polygon without vertices is an empty mask. Of one or two vertices, ``fill`` draws the pixel or
    the line. The work is proportional to the part of the picture that a polygon covers.

    Args:
        polygons: ``[N, V, 2]`` float, or N of ``[V_i, 2]``: x and y in pixels of the picture, of
            any real dtype and device. Tensors on other devices are copied to the host.
        height: of the picture, pixels.
        width: of the picture, pixels; ``height * width`` is below 2^31.
        rule: ``'fill'``, ``'fill-4.8'``, ``'fill-4.5'`` or ``'coco'``.

    Returns:
        ``{'size': [height, width], 'counts': bytes}`` for each polygon, as pycocotools has it.

    Raises:
        TypeError: if a polygon is neither tensor nor array.
        ValueError: if a shape is another, the size or the rule does not exist, or a vertex is not
            finite or beyond the range of int32 (``coco``: 2^30 fifths of a pixel).
    """
    height, width = int(height), int(width)
    vertices, offsets = _pack_polygons(polygons)
    text, ends = torch.ops.polarseg.polygons_to_rle(vertices, offsets, height, width, rule)
    return _split_texts(text, ends, height, width)


def _pack_polygons(polygons: Tensor | Sequence[Tensor | np.ndarray]) -> tuple[Tensor, Tensor]:
    """``[P, 2]`` vertices of all polygons, float32 or float64, and ``[N + 1]`` offsets."""
    if isinstance(polygons, Tensor):
        if polygons.dim() != 3 or polygons.shape[2] != 2:
            raise ValueError(
                f'polygons_to_rle: polygons must be [N, V, 2] or a sequence of [V, 2], got a '
                f'tensor of shape {list(polygons.shape)}.'
            )
        count, size = polygons.shape[:2]
        return _real(polygons.reshape(-1, 2)), torch.arange(count + 1, device='cpu') * size
    parts = [_real(_from_numpy(p) if isinstance(p, np.ndarray) else p) for p in polygons]
    for index, part in enumerate(parts):
        if part.numel() and (part.dim() != 2 or part.shape[1] != 2):
            raise ValueError(
                f'polygons_to_rle: each polygon must be [V, 2], but polygon {index} has shape '
                f'{list(part.shape)}.'
            )
    sizes = [len(part.reshape(-1, 2)) for part in parts]
    offsets = torch.tensor([0, *sizes], device='cpu').cumsum(0)
    host = [part.detach().cpu().double().reshape(-1, 2) for part in parts]
    return torch.cat([torch.zeros(0, 2, dtype=torch.float64, device='cpu'), *host]), offsets


def _from_numpy(array: np.ndarray) -> Tensor:
    """A tensor to read from; arrays that cannot be written are copied, as torch warns of them."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _real(tensor: Tensor) -> Tensor:
    """As float32 or float64, whichever holds the values exactly."""
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f'polygons_to_rle: each polygon must be a tensor or an array, got {type(tensor)}.'
        )
    if tensor.is_complex():
        raise ValueError(f'polygons_to_rle: vertices must be real numbers, got {tensor.dtype}.')
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    return tensor.float() if tensor.is_floating_point() else tensor.double()


def _split_texts(text: Tensor, ends: Tensor, height: int, width: int) -> list[dict]:
    """The operators' tensors as pycocotools' dictionaries."""
    data = text.numpy().tobytes()
    bounds = ends.tolist()
    return [{'size': [height, width], 'counts': data[start:end]} for start, end in pairwise(bounds)]


def _check_picture(op: str, height: int, width: int) -> None:
    torch._check_value(
        height >= 0 and width >= 0 and height * width <= MAX_PIXELS,
        lambda: f'{op}: height and width must make 0 to {MAX_PIXELS} pixels.',
    )


@torch.library.register_fake('polarseg::polygons_to_rle')
def _fake_polygons_to_rle(
    vertices: Tensor, offsets: Tensor, height: int, width: int, rule: str = 'fill'
) -> tuple[Tensor, Tensor]:
    """Shapes and dtypes of the result, for tracing without data; how long it is depends on data."""
    if rule not in FILL_RULES:
        raise ValueError(f'polygons_to_rle: rule must be one of {FILL_RULES}, got {rule!r}.')
    _check_picture('polygons_to_rle', height, width)
    return _fake_texts(offsets.shape[0] - 1)


def _fake_texts(count: int | torch.SymInt) -> tuple[Tensor, Tensor]:
    length = torch.library.get_ctx().new_dynamic_size()
    text = torch.empty(length, dtype=torch.uint8, device='cpu')
    return text, torch.empty(count + 1, dtype=torch.int64, device='cpu')


def paste_masks_to_rle(
    masks: Tensor,
    boxes: Tensor,
    height: int,
    width: int,
    threshold: float = 0.5,
    rule: str = 'half_pixel',
) -> list[dict]:
    """Stretch masks over their boxes, cut them at a threshold and compress them to COCO RLE.

    ``rule='half_pixel'``: the pixel (x, y) samples the map bilinearly at the normalised position
    ``((x + 0.5 - x1) / (x2 - x1), (y + 0.5 - y1) / (y2 - y1))``, zeros lie around the map, and what
    is at least the threshold is foreground. This is how mmdet and detectron2 paste (Mask R-CNN,
    arXiv 1703.06870, with aligned pixels): on the CPU the result is, mask for mask,
    ``_do_paste_mask`` of one mask at a time, compared with the threshold and encoded.

    ``rule='integer_box'``: a ring of zeros is put round the map, the box is widened by as much
    about its centre and truncated towards zero to whole pixels ``x1`` to ``x2``, both included; the
    map is resized to that many pixels (``interpolate(mode='bilinear', align_corners=False)``), and
    what is above the threshold is foreground. This is how CenterMask (arXiv 1911.06667) pastes.

    The arithmetic is torch's, float32, operation by operation; whether torch fuses products into
    sums depends on its build and on the processor, and the operator does as the torch that it runs
    beside. Boxes that are not finite, lie beside the picture or are turned round by more than their
    rounding give empty masks, where the originals fail. The work is proportional to the part of
    the picture that a box covers.

    Args:
        masks: ``[N, R, S]`` floating-point, probabilities. Any device; copied to the host.
        boxes: ``[N, 4]`` floating-point x1, y1, x2, y2 in pixels of the picture.
        height: of the picture, pixels.
        width: of the picture, pixels; ``height * width`` is below 2^31.
        threshold: from 0 on; compared as float32.
        rule: ``'half_pixel'`` or ``'integer_box'``.

    Returns:
        ``{'size': [height, width], 'counts': bytes}`` for each mask, as pycocotools has it.

    Raises:
        TypeError: if masks or boxes are not floating-point.
        ValueError: if shapes do not fit together, or the size, the threshold or the rule is none.
    """
    height, width = int(height), int(width)
    text, ends = torch.ops.polarseg.paste_masks_to_rle(masks, boxes, height, width, threshold, rule)
    return _split_texts(text, ends, height, width)


@torch.library.register_fake('polarseg::paste_masks_to_rle')
def _fake_paste_masks_to_rle(
    masks: Tensor,
    boxes: Tensor,
    height: int,
    width: int,
    threshold: float = 0.5,
    rule: str = 'half_pixel',
) -> tuple[Tensor, Tensor]:
    """Shapes and dtypes of the result, for tracing without data."""
    if rule not in PASTE_RULES:
        raise ValueError(f'paste_masks_to_rle: rule must be one of {PASTE_RULES}, got {rule!r}.')
    _check_picture('paste_masks_to_rle', height, width)
    torch._check_value(
        masks.dim() == 3 and boxes.dim() == 2 and boxes.shape[1] == 4,
        lambda: 'paste_masks_to_rle: masks must be [n, r, s] and boxes [n, 4].',
    )
    torch._check_value(
        masks.shape[0] == boxes.shape[0],
        lambda: 'paste_masks_to_rle: there must be one box for each mask.',
    )
    return _fake_texts(masks.shape[0])
