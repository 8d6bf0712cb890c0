"""Drawing single pictures, and writing a whole data set in COCO's layout."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from polarseg.datasets.shapes.annotate import PHENOMENA, annotate
from polarseg.datasets.shapes.config import ShapesConfig, ShapesConfigError
from polarseg.datasets.shapes.outlines import CATEGORIES
from polarseg.datasets.shapes.panoptic import PanopticWriter, panoptic_map, panoptic_paths
from polarseg.datasets.shapes.scene import Scene, compose
from polarseg.datasets.shapes.schedule import picture_rng, picture_traits
from polarseg.datasets.shapes.stuff import lay_out
from polarseg.structures.panoptic import PanopticMap

__all__ = ['SHAPES_VERSION', 'Picture', 'draw_picture', 'missing_phenomena', 'write_dataset']

SHAPES_VERSION = '1.0'
"""Changes whenever the same seed and settings give other pictures or annotations."""

_ENCODERS = {
    'png': ('.png', [cv2.IMWRITE_PNG_COMPRESSION, 6]),
    'jpg': ('.jpg', [cv2.IMWRITE_JPEG_QUALITY, 95]),
}
_OUR_PICTURES = re.compile(r'\d{6,}\.(png|jpg)')


@dataclass(frozen=True)
class Picture:
    """One generated picture.

    Attributes:
        image: Uint8 array ``[h, w, 3]``, BGR.
        annotations: COCO annotations without ``id`` and ``image_id``.
        tally: What the picture shows, by keys of :data:`annotate.PHENOMENA`.
        panoptic: Segments with the category ids of the files, where there is stuff.
    """

    image: np.ndarray
    annotations: list[dict[str, Any]]
    tally: Counter[str]
    panoptic: PanopticMap | None = None


def draw_picture(config: ShapesConfig, seed: int, split: str, index: int) -> Picture:
    """Generate one picture; it depends on these arguments and on no other picture.

    Args:
        config: Settings.
        seed: Seed of the data set.
        split: Name of the split, such as ``'train'``.
        index: Number of the picture in its split, from 0.

    Returns:
        The picture with its annotations.

    Raises:
        ShapesConfigError: If seed or index is negative.
    """
    if seed < 0 or index < 0:
        raise ShapesConfigError(f'seed and index must not be negative, got {seed} and {index}')
    traits = picture_traits(config, seed, split, index)
    rng = picture_rng(seed, split, index)
    if traits is None:
        width = int(rng.integers(config.width[0], config.width[1] + 1))
        height = int(rng.integers(config.height[0], config.height[1] + 1))
        scene = Scene(config, height, width)
    else:
        scene = compose(config, traits, rng)
    annotations, tally = annotate(scene)
    if not config.stuff:
        return Picture(scene.render(rng), annotations, tally)
    ground = lay_out(config.stuff, config.stuff_regions, scene.size, rng)
    image = scene.render(rng, ground)
    return Picture(image, annotations, tally, panoptic_map(scene, ground))


def missing_phenomena(config: ShapesConfig, tally: Mapping[str, int]) -> list[str]:
    """Phenomena that the settings ask for and a split does not show.

    Args:
        config: Settings.
        tally: Counts of a split, by keys of :data:`annotate.PHENOMENA`.

    Returns:
        Their keys; not empty only for splits of a few pictures, or where there is little room.
    """
    asked = {
        'empty': config.rate_empty,
        'crowd': config.rate_crowd,
        'tiny': config.rate_tiny,
        'filling': config.rate_filling,
        'multi_part': config.rate_split,
        'with_hole': config.rate_hole,
        'non_star': config.rate_non_star,
    }
    return [name for name, rate in asked.items() if rate > 0 and not tally.get(name, 0)]


def _clear(out_dir: Path, splits: Mapping[str, int], force: bool) -> None:
    """Make sure that no picture of an earlier run is left among the new ones."""
    for split in splits:
        panoptic_file, panoptic_dir = panoptic_paths(out_dir, split)
        old = [out_dir / 'annotations' / f'instances_{split}.json', panoptic_file]
        for folder in (out_dir / split, panoptic_dir):
            if folder.is_dir():
                old += sorted(p for p in folder.iterdir() if _OUR_PICTURES.fullmatch(p.name))
        old = [path for path in old if path.exists()]
        if old and not force:
            raise FileExistsError(f'{old[0]} exists: choose another folder, or overwrite by force')
        for path in old:
            path.unlink()


def _write_split(
    out_dir: Path, split: str, count: int, config: ShapesConfig, seed: int, encoder: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Counter[str]]:
    folder = out_dir / split
    folder.mkdir(parents=True, exist_ok=True)
    suffix, options = _ENCODERS[encoder]
    stuff = config.stuff and PanopticWriter(out_dir, split, config.categories, config.stuff)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    total = Counter(dict.fromkeys(PHENOMENA, 0))
    for index in range(count):
        picture = draw_picture(config, seed, split, index)
        path = folder / f'{index:06d}{suffix}'
        done, data = cv2.imencode(suffix, picture.image, options)
        if not done:
            raise OSError(f'OpenCV could not encode {path}')
        path.write_bytes(data.tobytes())
        height, width = picture.image.shape[:2]
        image = {'id': index + 1, 'file_name': path.name, 'width': width, 'height': height}
        images.append({**image, 'license': 1})
        if stuff:
            stuff.add(image, picture.panoptic)
        for annotation in picture.annotations:
            ids = {'id': len(annotations) + 1, 'image_id': index + 1}
            annotations.append({**ids, **annotation})
        total.update(picture.tally)
    if stuff:
        stuff.close(images)
    return images, annotations, total


def write_dataset(
    out_dir: str | Path,
    config: ShapesConfig,
    splits: Mapping[str, int],
    seed: int = 0,
    profile: str = 'custom',
    image_format: str = 'png',
    force: bool = False,
) -> dict[str, dict[str, int]]:
    """Write pictures to ``out_dir/<split>/`` and COCO files to ``out_dir/annotations/``.

    With stuff, ``annotations/panoptic_<split>.json`` and the PNGs of the folder beside it are the
    same pictures in COCO's panoptic format.

    The files hold no date and no path, so the same arguments give the same bytes with the same
    versions of numpy, OpenCV and pycocotools.

    Args:
        out_dir: Folder to write to; made if missing.
        config: Settings.
        splits: Number of pictures by split name.
        seed: Seed, not negative.
        profile: Name noted in ``info``.
        image_format: ``'png'`` or ``'jpg'``.
        force: Replace the pictures and COCO files of an earlier run; other files are left alone.

    Returns:
        The counts of each split, by keys of :data:`annotate.PHENOMENA`.

    Raises:
        ShapesConfigError: If an argument is out of range.
        FileExistsError: If an earlier run left files there and ``force`` is not set.
        OSError: If a file cannot be written.
    """
    if image_format not in _ENCODERS:
        raise ShapesConfigError(f'image_format must be one of {list(_ENCODERS)}: {image_format!r}')
    if seed < 0:
        raise ShapesConfigError(f'seed must not be negative, got {seed}')
    for split, count in splits.items():
        if not re.fullmatch(r'\w+', split) or split == 'annotations':
            raise ShapesConfigError(f'not usable as the name of a split: {split!r}')
        if count < 0:
            raise ShapesConfigError(f'number of {split} pictures must not be negative, got {count}')
    out_dir = Path(out_dir)
    _clear(out_dir, splits, force)
    (out_dir / 'annotations').mkdir(parents=True, exist_ok=True)
    tallies: dict[str, dict[str, int]] = {}
    for split, count in splits.items():
        images, annotations, tally = _write_split(out_dir, split, count, config, seed, image_format)
        tallies[split] = dict(tally)
        content = {
            'info': {
                'description': 'Synthetic shapes for instance segmentation',
                'version': SHAPES_VERSION,
                'seed': seed,
                'profile': profile,
                'split': split,
                'config': config.to_dict(),
                'phenomena': tallies[split],
            },
            'licenses': [
                {
                    'id': 1,
                    'name': 'CC0 1.0 Universal',
                    'url': 'https://creativecommons.org/publicdomain/zero/1.0/',
                }
            ],
            'images': images,
            'annotations': annotations,
            'categories': [
                {'id': CATEGORIES[name].id, 'name': name, 'supercategory': 'shape'}
                for name in sorted(config.categories, key=lambda name: CATEGORIES[name].id)
            ],
        }
        path = out_dir / 'annotations' / f'instances_{split}.json'
        path.write_text(json.dumps(content, separators=(',', ':')) + '\n', encoding='utf-8')
    return tallies
