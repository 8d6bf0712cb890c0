"""Panoptic segmentation of one picture: a map of segment ids and what each id stands for.

Panoptic Segmentation (arXiv 1801.00868), section 3: every pixel belongs to at most one segment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from mmdet.structures import INSTANCE_OFFSET
from mmengine.structures import PixelData
from torch import Tensor

__all__ = [
    'VOID',
    'PanopticMap',
    'Segment',
    'as_flag',
    'count_ids',
    'count_pairs',
    'panoptic_classes',
    'thing_classes',
]

VOID = 0
"""Segment id of pixels that belong to no segment."""


@dataclass(frozen=True)
class Segment:
    """What one id of a panoptic map stands for.

    Args:
        id: in the map, from 1.
        category_id: contiguous (things first, then stuff) in predictions, that of the file in
            what is read from one.
        isthing: an object that can be counted, or stuff.
        area: pixels; :class:`PanopticMap` counts them itself.
        score: of a predicted thing.
        iscrowd: a group of things that nobody has told apart; ground truth only.
    """

    id: int
    category_id: int
    isthing: bool
    area: int = 0
    score: float | None = None
    iscrowd: bool = False

    def __post_init__(self) -> None:
        if not _is_integer(self.id) or self.id <= VOID:
            raise ValueError(f'the id of a segment must be a whole number above 0, got {self.id!r}')
        if not _is_integer(self.category_id):
            raise ValueError(
                f'segment {self.id}: category_id must be a whole number, got {self.category_id!r}'
            )

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> 'Segment':
        """A segment of a dictionary with at least ``id``, ``category_id`` and ``isthing``.

        Raises:
            ValueError: if one of these is missing, or ``isthing`` or ``iscrowd`` is no flag
                (:func:`as_flag`). Other keys are left out.
        """
        missing = [key for key in ('id', 'category_id', 'isthing') if key not in entry]
        if missing:
            raise ValueError(f'a segment needs {", ".join(missing)}, got {dict(entry)}')
        own = {field.name for field in fields(cls)}
        values = {key: value for key, value in entry.items() if key in own}
        try:
            for key in ('isthing', 'iscrowd'):
                values[key] = as_flag(key, values.get(key, False))
        except ValueError as error:
            raise ValueError(f'segment {entry["id"]}: {error}') from error
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Its arguments as plain numbers; no ``score``, no ``iscrowd`` where there is none."""
        entry = {'id': int(self.id), 'category_id': int(self.category_id)}
        entry |= {'isthing': bool(self.isthing), 'area': int(self.area)}
        if self.score is not None:
            entry['score'] = float(self.score)
        return entry | ({'iscrowd': True} if self.iscrowd else {})


class PanopticMap:
    """The segments of one picture.

    Args:
        ids: ``[H, W]`` integer segment ids, 0 void; a tensor of any device or an array.
        segments: what the ids stand for, :class:`Segment` or dictionaries of their arguments. Their
            ``area`` is counted here. A segment without pixels is allowed.

    Attributes:
        ids: ``[H, W]`` int32 array.
        segments: list of :class:`Segment` in the given order.

    Raises:
        ValueError: if ``ids`` is no map of integers from 0, if an id of it is not in ``segments``,
            or if one is there twice.
    """

    def __init__(
        self, ids: np.ndarray | Tensor, segments: Sequence[Segment | Mapping[str, Any]]
    ) -> None:
        self.ids = _checked_ids(ids)
        listed = [s if isinstance(s, Segment) else Segment.from_dict(s) for s in segments]
        areas = dict(zip(*(column.tolist() for column in count_ids(self.ids))))
        self.segments = [replace(s, area=areas.get(s.id, 0)) for s in listed]
        own = {segment.id for segment in listed}
        if len(own) < len(listed):
            numbers = [segment.id for segment in listed]
            repeated = sorted({number for number in own if numbers.count(number) > 1})
            raise ValueError(f'segments have ids that occur more than once: {_some(repeated)}')
        strays = sorted(areas.keys() - own - {VOID})
        if strays:
            raise ValueError(f'ids of the map that no segment has: {_some(strays)}')

    def __repr__(self) -> str:
        things = sum(segment.isthing for segment in self.segments)
        height, width = self.ids.shape
        stuff = len(self.segments) - things
        return f'{type(self).__name__}({things} things, {stuff} stuff, {height}x{width})'

    @classmethod
    def from_data(
        cls,
        data: 'PanopticMap | PixelData | Mapping[str, Any]',
        num_classes: tuple[int, int] | None = None,
    ) -> 'PanopticMap':
        """The map of what a data sample holds.

        Args:
            data: a map, :meth:`to_pixel_data`'s, its dictionary, or ``sem_seg`` as mmdet's panoptic
                heads give it (:meth:`from_offset_ids`).
            num_classes: of things and of stuff, which mmdet's form needs.

        Raises:
            ValueError: if ``data`` has no ``ids`` or no ``segments``, nor is in mmdet's form.
        """
        if isinstance(data, PanopticMap):
            return data
        if data.get('ids') is None and data.get('sem_seg') is not None:
            if num_classes is None:
                raise ValueError("a sem_seg in mmdet's form needs the numbers of classes, got None")
            joined = data.get('sem_seg')
            return cls.from_offset_ids(joined[0] if joined.ndim == 3 else joined, *num_classes)
        missing = [key for key in ('ids', 'segments') if data.get(key) is None]
        if missing:
            raise ValueError(f'a panoptic result needs ids and segments, {missing} not found')
        ids = data.get('ids')
        return cls(ids[0] if ids.ndim == 3 else ids, data.get('segments'))

    @classmethod
    def from_offset_ids(
        cls, joined: np.ndarray | Tensor, num_things: int, num_stuff: int
    ) -> 'PanopticMap':
        """The map of mmdet's panoptic heads: class + 1000 times the number of the instance.

        Args:
            joined: ``[H, W]`` integers. Classes are contiguous, things first; one more is void.
                Instances count from 1; stuff has none.
            num_things: T.
            num_stuff: S.

        Returns:
            Segments in the order of their numbers in ``joined``, without scores.

        Raises:
            ValueError: if a class is above T + S, or stuff has an instance, or a thing none.
        """
        joined = _checked_ids(joined)
        numbers = count_ids(joined)[0]
        instances, classes = np.divmod(numbers, INSTANCE_OFFSET)
        void = num_things + num_stuff
        wrong = (classes > void) | ((classes < num_things) != (instances > 0))
        if wrong.any():
            raise ValueError(
                f'expected class + {INSTANCE_OFFSET} x instance of {num_things} things, or one of '
                f'{num_stuff} kinds of stuff from {num_things} on, or {void} (void), got '
                f'{_some(numbers[wrong].tolist())}'
            )
        kept = classes < void
        ids = np.where(kept, np.cumsum(kept), VOID)
        segments = [
            Segment(number, category, isthing=category < num_things)
            for number, category in zip(ids[kept].tolist(), classes[kept].tolist())
        ]
        return cls(ids[np.searchsorted(numbers, joined)], segments)

    def to_pixel_data(self) -> PixelData:
        """For ``DetDataSample.pred_panoptic_seg``, which takes nothing else.

        Returns:
            ``ids``, a ``[1, H, W]`` int32 tensor, and ``segments``, dictionaries, as meta
            information.
        """
        segments = [segment.to_dict() for segment in self.segments]
        return PixelData(metainfo={'segments': segments}, ids=torch.from_numpy(self.ids)[None])

    def with_categories(self, category_ids: Mapping[int, int]) -> 'PanopticMap':
        """The same segments with other category ids, such as those of a file.

        Raises:
            ValueError: if a category is not in ``category_ids``.
        """
        for segment in self.segments:
            if segment.category_id not in category_ids:
                raise ValueError(
                    f'segment {segment.id} has category {segment.category_id}, which is none of '
                    f'{_some(sorted(category_ids))}'
                )
        changed = [replace(s, category_id=category_ids[s.category_id]) for s in self.segments]
        return type(self)(self.ids, changed)

    def semantic(self, labels: Mapping[int, int], void: int = 255) -> np.ndarray:
        """A semantic label for each pixel.

        Args:
            labels: label of a category id, 0 .. 255.
            void: label of void pixels and of categories that ``labels`` lacks.

        Returns:
            ``[H, W]`` uint8.
        """
        chosen = [labels.get(segment.category_id, void) for segment in self.segments]
        return np.array([void, *chosen], np.uint8)[self.positions(self.ids)]

    def positions(self, ids: np.ndarray) -> np.ndarray:
        """Where the segments of ids stand in :attr:`segments`, from 1; 0 for void.

        Args:
            ids: of this map, in an array of any shape.
        """
        known = np.array([VOID, *(segment.id for segment in self.segments)], np.int32)
        order = np.argsort(known)
        return order[np.searchsorted(known[order], ids)]

    def boxes(self) -> np.ndarray:
        """``[N, 4]`` int64 x, y, width, height of the segments in pixels, 0 without pixels."""
        starts, lengths = _runs(self.ids, within_rows=True)
        values = self.ids.reshape(-1)[starts]
        kept = values != VOID
        rows, left = np.divmod(starts[kept], max(self.ids.shape[1], 1))
        target = self.positions(values[kept]) - 1
        first = np.full((len(self.segments), 2), np.iinfo(np.int64).max)
        last = np.zeros((len(self.segments), 2), np.int64)
        np.minimum.at(first, target, np.stack([left, rows], 1))
        np.maximum.at(last, target, np.stack([left + lengths[kept], rows + 1], 1))
        boxes = np.concatenate([first, last - first], 1)
        boxes[(last == 0).all(axis=1)] = 0
        return boxes


def panoptic_classes(meta: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Names of things and of stuff in a data set's meta information.

    Args:
        meta: with ``stuff_classes``, and what :func:`thing_classes` reads.

    Raises:
        ValueError: if one of the two is missing.
    """
    missing = [key for key in ('classes', 'stuff_classes') if key not in meta]
    if missing:
        raise ValueError(f'the meta information of the data set has no {", ".join(missing)}')
    return list(thing_classes(meta)), list(meta['stuff_classes'])


def thing_classes(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes of instances in a data set's meta information; () without any.

    Args:
        meta: with ``classes``; mmdet's panoptic data sets have things and stuff there, and the
            things in ``thing_classes``.
    """
    return tuple(meta.get('thing_classes') or meta.get('classes') or ())


def as_flag(name: str, value: Any) -> bool:
    """True for true and 1, False for false and 0, as files have them.

    Raises:
        ValueError: for anything else, such as '0', which Python takes for true.
    """
    if not isinstance(value, (bool, int, np.bool_, np.integer)) or value not in (0, 1):
        raise ValueError(f'{name} must be 0, 1, true or false, got {value!r}')
    return bool(value)


def count_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a map and how many pixels each has.

    As ``numpy.unique`` with counts, but only the runs of equal pixels are sorted: a map of
    segments has few.

    Args:
        ids: integer array of any shape.

    Returns:
        The numbers, rising, and int64 counts.
    """
    starts, lengths = _runs(ids)
    values, inverse = np.unique(ids.reshape(-1)[starts], return_inverse=True)
    counts = np.zeros(len(values), np.int64)
    np.add.at(counts, inverse.reshape(-1), lengths)
    return values, counts


def count_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of numbers that meet in a pixel of two maps.

    Args:
        first: ``[H, W]`` integers from 0, below 2**31.
        second: as ``first``.

    Returns:
        Number in the first, number in the second and int64 count of pixels of each pair.

    Raises:
        ValueError: if the sizes differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            f'maps must be of one size, got {list(first.shape)} and {list(second.shape)}'
        )
    pairs, counts = count_ids(first.astype(np.int64) << 32 | second.astype(np.int64))
    return pairs >> 32, pairs & 0xFFFFFFFF, counts


def _runs(ids: np.ndarray, within_rows: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Where the runs of equal numbers start in the flattened map, and their lengths."""
    flat = ids.reshape(-1)
    begins = np.ones(flat.size, bool)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    if within_rows and flat.size:
        begins.reshape(ids.shape)[:, 0] = True
    starts = np.flatnonzero(begins)
    return starts, np.diff(starts, append=flat.size)


def _checked_ids(ids: np.ndarray | Tensor) -> np.ndarray:
    array = ids.detach().cpu().numpy() if isinstance(ids, Tensor) else np.asarray(ids)
    if array.ndim != 2 or array.dtype.kind not in 'iu':
        raise ValueError(
            f'ids must be an integer map [H, W], got {array.dtype} {list(array.shape)}'
        )
    if array.size and (array.min() < VOID or array.max() > np.iinfo(np.int32).max):
        raise ValueError(f'ids must be in 0 .. 2**31 - 1, got {array.min()} .. {array.max()}')
    return np.ascontiguousarray(array, np.int32)


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _some(numbers: Sequence[int], most: int = 8) -> str:
    shown = ', '.join(map(str, numbers[:most]))
    return f'{shown}, ... ({len(numbers)} in all)' if len(numbers) > most else shown
