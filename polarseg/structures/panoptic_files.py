"""The COCO panoptic format: a JSON file beside a folder of PNGs whose colours are segment ids.

    {"images": [{"id", "file_name", "height", "width"}],
     "annotations": [{"image_id", "file_name": "NAME.png",
                      "segments_info": [{"id", "category_id", "area", "bbox", "iscrowd"}]}],
     "categories": [{"id", "name", "isthing"}]}

The PNGs are those of :mod:`polarseg.structures.panoptic_png`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

from polarseg.structures.panoptic import PanopticMap, Segment, as_flag
from polarseg.structures.panoptic_png import (
    PanopticFileError,
    read_panoptic_png,
    write_panoptic_png,
)

__all__ = [
    'Category',
    'PanopticFileError',
    'PanopticFiles',
    'claim_png',
    'panoptic_annotation',
    'save_panoptic_json',
    'write_panoptic',
]

ANNOTATION_TYPES = {'image_id': (int, str), 'file_name': (str,), 'segments_info': None}
CATEGORY_TYPES = {'id': (int,), 'name': (str,), 'isthing': None}
"""What entries of a file need, and of which types; None for what is checked apart."""


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
        need_annotations: False takes a file without ``annotations``, as those of pictures whose
            truth is kept secret.

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
        need_annotations: bool = True,
    ) -> None:
        self.file = Path(file)
        self.folder = self.file.with_suffix('') if folder is None else Path(folder)
        content = _load_json(self.file)
        if categories is None:
            categories = _read_categories(_entries(content, 'categories', self.file), self.file)
        self.categories = list(categories)
        self._isthing = {category.id: category.isthing for category in self.categories}
        if not need_annotations:
            content.setdefault('annotations', [])
        self.annotations: dict[int | str, dict] = {}
        for index, entry in enumerate(_entries(content, 'annotations', self.file)):
            where = f'{self.file}: annotations[{index}]'
            _check_types(entry, ANNOTATION_TYPES, where)
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

    def png_names(self) -> dict[int | str, str]:
        """Name of each picture's PNG without folders, for what is written beside the data set.

        Raises:
            PanopticFileError: if two pictures would share one.
        """
        names: dict[int | str, str] = {}
        owners: dict[str, int | str] = {}
        for number, entry in self.annotations.items():
            names[number] = Path(entry['file_name']).name
            claim_png(owners, names[number], number, self.file)
        return names

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
        if not isinstance(category, int) or category not in self._isthing:
            raise ValueError(
                f'segment {info.get("id")} has category_id {category!r}, which is not among the '
                f'{len(self._isthing)} categories'
            )
        return Segment.from_dict({**info, 'isthing': self._isthing[category]})


def claim_png(
    owners: dict[str, int | str], name: str, image_id: int | str, file: str | Path
) -> None:
    """Give a PNG to a picture: no two pictures of a data set or result may share one.

    Args:
        owners: image id of each name that is given away; the new one is added.
        name: of the PNG, without folders.
        image_id: of the picture.
        file: JSON of the data set or result, for the message.

    Raises:
        PanopticFileError: if it is another picture's.
    """
    owner = owners.setdefault(name, image_id)
    if owner != image_id:
        raise PanopticFileError(
            f'{file}: two pictures have PNGs of the same name, {name}: images {owner} and '
            f'{image_id}'
        )


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
        PanopticFileError: if two photographs have one name, but for folders and suffixes, or one
            picture is given twice.
        ValueError: if an id has no colour.
    """
    file = Path(file)
    folder = file.with_suffix('') if folder is None else Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    annotations: dict[int | str, dict] = {}
    owners: dict[str, int | str] = {}
    for image_id, file_name, panoptic in pictures:
        name = f'{Path(file_name).stem}.png'
        if image_id in annotations:
            raise PanopticFileError(f'{file}: image {image_id} is given twice')
        claim_png(owners, name, image_id, file)
        write_panoptic_png(folder / name, panoptic.ids)
        annotations[image_id] = panoptic_annotation(image_id, name, panoptic)
        height, width = panoptic.ids.shape
        images.append(dict(id=image_id, file_name=file_name, height=height, width=width))
    save_panoptic_json(file, list(annotations.values()), categories, images)


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
        where = f'{path}: categories[{index}]'
        _check_types(entry, CATEGORY_TYPES, where)
        try:
            isthing = as_flag('isthing', entry['isthing'])
        except ValueError as error:
            raise PanopticFileError(f'{where}: {error}') from error
        categories.append(Category(entry['id'], entry['name'], isthing))
    ids = [category.id for category in categories]
    repeated = sorted({number for number in ids if ids.count(number) > 1})
    if repeated:
        raise PanopticFileError(f'{path}: categories have ids that occur twice: {repeated}')
    return categories


def _check_types(entry: dict, types: Mapping[str, tuple[type, ...] | None], where: str) -> None:
    """Refuse an entry that lacks a key, or has a value of another type there."""
    missing = [key for key in types if key not in entry]
    if missing:
        raise PanopticFileError(f'{where} has no {", ".join(missing)}')
    for key, allowed in types.items():
        if allowed is None:
            continue
        # a bool is an int to Python
        if not isinstance(entry[key], allowed) or isinstance(entry[key], bool):
            names = ' or '.join(kind.__name__ for kind in allowed)
            raise PanopticFileError(f'{where}: {key} must be {names}, got {entry[key]!r}')
