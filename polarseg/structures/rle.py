"""What COCO's run lengths say, checked: pycocotools decodes short ones to uninitialised memory."""

from collections.abc import Sequence

import numpy as np

__all__ = ['rle_counts']


def rle_counts(counts: str | Sequence[int]) -> np.ndarray:
    """Run lengths of a COCO RLE, whose sum is the number of pixels of its picture.

    Args:
        counts: COCO's compressed string, or the run lengths themselves.

    Returns:
        ``[K]`` int64, background and foreground in turn, background first.

    Raises:
        ValueError: if the string is no such encoding, or a length is negative or no whole number.
    """
    lengths = _decompress(counts) if isinstance(counts, str) else np.asarray(counts)
    if len(lengths) == 0:
        return np.zeros(0, np.int64)
    if lengths.ndim != 1 or not np.issubdtype(lengths.dtype, np.integer) or lengths.min() < 0:
        raise ValueError('run lengths must be whole numbers of at least 0')
    return lengths.astype(np.int64)


def _decompress(text: str) -> np.ndarray:
    """Groups of 5 bits, low ones first, in characters from '0' on; bit 5: the group goes on."""
    codes = np.frombuffer(text.encode('ascii'), np.uint8).astype(np.int64) - 48
    if len(codes) == 0:
        return codes
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError('the string is no compressed RLE')
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > 7:
        raise ValueError('the string holds a run length beyond 32 bits')
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, sizes))
    values = np.add.reduceat((codes & 31) << shifts, starts)
    values -= np.where(codes[ends] & 16, 1 << (5 * sizes), 0)
    # from the fourth on, the difference to the length before the last is written
    values[1::2] = values[1::2].cumsum()
    values[2::2] = values[2::2].cumsum()
    return values
