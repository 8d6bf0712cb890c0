"""Panoptic PNGs of the COCO format: colours that are segment ids, R + 256 G + 65536 B, 0 void."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from polarseg.structures.panoptic import PanopticMap, Segment

__all__ = [
    'PanopticFileError',
    'colors_to_ids',
    'decode_panoptic_png',
    'read_panoptic_map',
    'read_panoptic_png',
    'write_panoptic_png',
]

MAX_ID = 256**3 - 1


class PanopticFileError(ValueError):
    """A file is not in the COCO panoptic format; the message names the file and the entry."""


def read_panoptic_png(path: str | Path) -> np.ndarray:
    """The segment ids of a PNG.

    Returns:
        ``[H, W]`` int32, R + 256 G + 65536 B.

    Raises:
        OSError: if the file cannot be read.
        PanopticFileError: if it is no RGB picture of 8 bits.
    """
    return decode_panoptic_png(Path(path).read_bytes(), path)


def decode_panoptic_png(content: bytes, path: str | Path) -> np.ndarray:
    """The segment ids of a PNG's bytes; ``path`` names it in errors.

    Returns:
        ``[H, W]`` int32, R + 256 G + 65536 B.

    Raises:
        PanopticFileError: if it is no RGB picture of 8 bits.
    """
    encoded = np.frombuffer(content, np.uint8)
    pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    if pixels is None:
        raise PanopticFileError(f'{path}: no picture, or a damaged one')
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise PanopticFileError(
            f'{path}: a panoptic PNG has 3 channels of 8 bits, got {pixels.dtype} '
            f'{list(pixels.shape)}'
        )
    return colors_to_ids(pixels[..., ::-1])


def read_panoptic_map(
    path: str | Path,
    segments: Sequence[Segment | Mapping[str, Any]],
    size: tuple[int, int] | None = None,
    content: bytes | None = None,
) -> PanopticMap:
    """The segments of a PNG.

    Args:
        path: of the PNG.
        segments: what its ids stand for, as :class:`~polarseg.structures.PanopticMap` takes them.
        size: height and width that it must have, those of its picture.
        content: the file's bytes, where it has been read already.

    Raises:
        OSError: if the file cannot be read.
        PanopticFileError: if it is no RGB picture of 8 bits, has another size, or an id that no
            segment has.
    """
    ids = read_panoptic_png(path) if content is None else decode_panoptic_png(content, path)
    if size is not None and ids.shape != tuple(size):
        raise PanopticFileError(
            f'{path} must have the size of the picture, {list(size)}, got {list(ids.shape)}'
        )
    try:
        return PanopticMap(ids, segments)
    except ValueError as error:
        raise PanopticFileError(f'{path}: {error}') from error


def colors_to_ids(colors: np.ndarray) -> np.ndarray:
    """Segment ids of colours.

    Args:
        colors: ``[..., 3]`` uint8, red, green, blue.

    Returns:
        ``[...]`` int32, R + 256 G + 65536 B.
    """
    red, green, blue = (colors[..., channel].astype(np.int32) for channel in range(3))
    return red | green << 8 | blue << 16


def write_panoptic_png(path: str | Path, ids: np.ndarray) -> None:
    """Write segment ids as the colours of a PNG.

    Args:
        path: ends in ``.png``.
        ids: ``[H, W]`` integers in 0 .. 2**24 - 1.

    Raises:
        ValueError: if an id has no colour.
    """
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise ValueError(f'{path}: ids must be in 0 .. {MAX_ID}, got {ids.min()} .. {ids.max()}')
    pixels = np.stack([ids >> 16, ids >> 8 & 255, ids & 255], axis=-1).astype(np.uint8)
    encoded = cv2.imencode('.png', pixels)[1]
    Path(path).write_bytes(encoded.tobytes())
