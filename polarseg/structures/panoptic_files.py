"""The COCO panoptic format: a JSON file beside a folder of PNGs whose colours are segment ids.

    {"images": [{"id", "file_name", "height", "width"}],
     "annotations": [{"image_id", "file_name": "NAME.png",
                      "segments_info": [{"id", "category_id", "area", "bbox", "iscrowd"}]}],
     "categories": [{"id", "name", "isthing"}]}

The id of a pixel is R + 256 G + 65536 B, 0 is void.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from polarseg.structures.panoptic import PanopticMap, Segment

__all__ = [
    'Category',
    'PanopticFileError',
    'PanopticFiles',
    'colors_to_ids',
    'panoptic_annotation',
    'read_panoptic_png',
    'save_panoptic_json',
    'write_panoptic',
    'write_panoptic_png',
]

MAX_ID = 256**3 - 1


class PanopticFileError(ValueError):
    """A file is not in the COCO panoptic format; the message names the file and the entry."""


class Category(NamedTuple):
    """A category of a file.

    Args:
        id: in the file; not always contiguous.
        name: text.
        isthing: an object that can be counted, or stuff.
    """

    id: int
    name: str
    isthing: bool


class PanopticFiles:
    """Panoptic ground truth or predictions of a data set, a picture at a time.

    Args:
        file: the JSON.
        folder: of the PNGs; None is COCO's place, beside the file, with its name without suffix.
        categories: for a file of predictions, which may have none of its own; they replace those
            of the file.

    Attributes:
        categories: list of :class:`Category` in the order of the file.
        annotations: entry of each picture by image id.

    Raises:
        OSError: if the file cannot be read. PNGs are looked at when they are asked for.
        PanopticFileError: if it is no such file.
    """

    def __init__(
        self,
        file: str | Path,
        folder: str | Path | None = None,
        categories: Sequence[Category] | None = None,
    ) -> None:
        self.file = Path(file)
        self.folder = self.file.with_suffix('') if folder is None else Path(folder)
        content = _load_json(self.file)
        if categories is None:
            categories = _read_categories(_entries(content, 'categories', self.file), self.file)
        self.categories = list(categories)
        self._isthing = {category.id: category.isthing for category in self.categories}
        self.annotations: dict[int | str, dict] = {}
        for index, entry in enumerate(_entries(content, 'annotations', self.file)):
            where = f'{self.file}: annotations[{index}]'
            missing = [
                key for key in ('image_id', 'file_name', 'segments_info') if key not in entry
            ]
            if missing:
                raise PanopticFileError(f'{where} has no {", ".join(missing)}')
            infos = entry['segments_info']
            if not isinstance(infos, list) or not all(isinstance(info, dict) for info in infos):
                raise PanopticFileError(f'{where}: segments_info is no list of objects')
            if entry['image_id'] in self.annotations:
                raise PanopticFileError(f'{where}: image {entry["image_id"]} has an entry already')
            self.annotations[entry['image_id']] = entry

    def __len__(self) -> int:
        return len(self.annotations)

    def subset(self, image_ids: Iterable[int | str]) -> 'PanopticFiles':
        """The same files with these pictures only.

        Raises:
            PanopticFileError: if a picture is not in the file.
        """
        part = copy(self)
        part.annotations = {number: self.annotation(number) for number in image_ids}
        return part

    def read(self, image_id: int | str) -> PanopticMap:
        """The segments of a picture, with the category ids of the file.

        Raises:
            OSError: if its PNG cannot be read.
            PanopticFileError: if the picture is not in the file, or the two do not fit together.
        """
        path = self.png(image_id)
        ids = read_panoptic_png(path)
        segments = self.segments(image_id)
        try:
            return PanopticMap(ids, segments)
        except ValueError as error:
            raise PanopticFileError(f'{self.file}, {path}: image {image_id}: {error}') from error

    def png(self, image_id: int | str) -> Path:
        """Where the PNG of a picture should be.

        Raises:
            PanopticFileError: if the picture is not in the file.
        """
        return self.folder / self.annotation(image_id)['file_name']

    def segments(self, image_id: int | str) -> list[Segment]:
        """The segments of a picture, with the category ids of the file; the PNG is not read.

        Raises:
            PanopticFileError: if the picture is not in the file, or a segment is none.
        """
        infos = self.annotation(image_id)['segments_info']
        try:
            return [self._segment(info) for info in infos]
        except ValueError as error:
            raise PanopticFileError(f'{self.file}: image {image_id}: {error}') from error

    def annotation(self, image_id: int | str) -> dict:
        """The entry of a picture.

        Raises:
            PanopticFileError: if it is not in the file.
        """
        if image_id not in self.annotations:
            raise PanopticFileError(f'{self.file}: no annotation of image {image_id!r}')
        return self.annotations[image_id]

    def _segment(self, info: Mapping[str, Any]) -> Segment:
        category = info.get('category_id')
        if category not in self._isthing:
            raise ValueError(
                f'segment {info.get("id")} has category_id {category!r}, which is not among the '
                f'{len(self._isthing)} categories'
            )
        return Segment.from_dict({**info, 'isthing': self._isthing[category]})


def read_panoptic_png(path: str | Path) -> np.ndarray:
    """The segment ids of a PNG.

    Returns:
        ``[H, W]`` int32, R + 256 G + 65536 B.

    Raises:
        OSError: if the file cannot be read.
        PanopticFileError: if it is no RGB picture of 8 bits.
    """
    content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if pixels is None:
        raise PanopticFileError(f'{path}: no picture, or a damaged one')
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise PanopticFileError(
            f'{path}: a panoptic PNG has 3 channels of 8 bits, got {pixels.dtype} '
            f'{list(pixels.shape)}'
        )
    return colors_to_ids(pixels[..., ::-1])


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


def panoptic_annotation(image_id: int | str, file_name: str, panoptic: PanopticMap) -> dict:
    """The entry of a picture in ``annotations``.

    Args:
        image_id: of the picture.
        file_name: of the PNG.
        panoptic: its segments, with the category ids of the file.
    """
    infos = []
    for segment, box in zip(panoptic.segments, panoptic.boxes().tolist()):
        info = segment.to_dict() | {'bbox': box, 'iscrowd': int(segment.iscrowd)}
        # stands in the categories
        del info['isthing']
        infos.append(info)
    return {'image_id': image_id, 'file_name': file_name, 'segments_info': infos}


def save_panoptic_json(
    path: str | Path,
    annotations: Sequence[dict],
    categories: Sequence[Category],
    images: Sequence[dict] = (),
) -> None:
    """Write the JSON of the format.

    Args:
        path: of the file.
        annotations: of :func:`panoptic_annotation`.
        categories: of the data set.
        images: entries of the pictures, in COCO's form.
    """
    entries = [dict(c._asdict(), isthing=int(c.isthing)) for c in categories]
    content = {'images': list(images), 'annotations': list(annotations), 'categories': entries}
    Path(path).write_text(json.dumps(content), encoding='utf-8')


def write_panoptic(
    file: str | Path,
    pictures: Iterable[tuple[int | str, str, PanopticMap]],
    categories: Sequence[Category],
    folder: str | Path | None = None,
) -> None:
    """Write a whole data set or result; :class:`PanopticFiles` reads it back.

    Args:
        file: the JSON.
        pictures: image id, file name of the photograph, and segments with the category ids of
            ``categories``. The PNG has the photograph's name with another suffix.
        categories: of the data set.
        folder: of the PNGs, made where it is missing; None as in :class:`PanopticFiles`.

    Raises:
        ValueError: if an id has no colour, or two photographs have one name.
    """
    file = Path(file)
    folder = file.with_suffix('') if folder is None else Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    annotations, images, names = [], [], set()
    for image_id, file_name, panoptic in pictures:
        name = f'{Path(file_name).stem}.png'
        if name in names:
            raise ValueError(f'image {image_id}: {folder / name} belongs to another picture')
        names.add(name)
        write_panoptic_png(folder / name, panoptic.ids)
        annotations.append(panoptic_annotation(image_id, name, panoptic))
        height, width = panoptic.ids.shape
        images.append(dict(id=image_id, file_name=file_name, height=height, width=width))
    save_panoptic_json(file, annotations, categories, images)


def _load_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise PanopticFileError(f'{path}: cannot be read as JSON: {error}') from error
    if not isinstance(content, dict):
        raise PanopticFileError(f'{path}: not in COCO panoptic format: no object at the top')
    return content


def _entries(content: dict, key: str, path: Path) -> list[dict]:
    entries = content.get(key)
    if not isinstance(entries, list):
        raise PanopticFileError(f"{path}: not in COCO panoptic format: no list named '{key}'")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise PanopticFileError(f'{path}: {key}[{index}] is no object')
    return entries


def _read_categories(entries: Sequence[dict], path: Path) -> list[Category]:
    categories = []
    for index, entry in enumerate(entries):
        missing = [key for key in Category._fields if key not in entry]
        if missing:
            raise PanopticFileError(f'{path}: categories[{index}] has no {", ".join(missing)}')
        categories.append(Category(entry['id'], entry['name'], bool(entry['isthing'])))
    ids = [category.id for category in categories]
    repeated = sorted({number for number in ids if ids.count(number) > 1})
    if repeated:
        raise PanopticFileError(f'{path}: categories have ids that occur twice: {repeated}')
    return categories
