"""Panoptic segments of a scene on stuff, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polarseg.datasets.shapes.outlines import CATEGORIES
from polarseg.datasets.shapes.scene import Scene
from polarseg.datasets.shapes.stuff import STUFF, Ground
from polarseg.structures.panoptic import PanopticMap
from polarseg.structures.panoptic_files import (
    Category,
    panoptic_annotation,
    save_panoptic_json,
)
from polarseg.structures.panoptic_png import write_panoptic_png

__all__ = ['PanopticWriter', 'panoptic_map', 'panoptic_paths']


def panoptic_map(scene: Scene, ground: Ground) -> PanopticMap:
    """The segments of a settled scene: its visible objects, and one for each stuff in between.

    The pixels of an object are those of its instance annotation. Stuff of which less than
    ``min_stuff_pixels`` is left to see is void.

    Args:
        scene: The scene.
        ground: What it is painted on.

    Returns:
        Segments with the category ids of the files; objects come first, in drawing order.
    """
    ids = scene.owner.copy()
    counts = np.bincount(ids.ravel(), minlength=len(scene.objects) + 1)
    segments = [
        dict(
            id=number,
            category_id=CATEGORIES[item.category].id,
            isthing=True,
            iscrowd=item.crowd,
        )
        for number, item in enumerate(scene.objects, start=1)
        if counts[number]
    ]
    for index, name in enumerate(ground.names):
        mask = (scene.owner == 0) & (ground.regions == index)
        if np.count_nonzero(mask) < scene.config.min_stuff_pixels:
            continue
        number = len(scene.objects) + 1 + index
        ids[mask] = number
        segments.append(dict(id=number, category_id=STUFF[name].id, isthing=False))
    return PanopticMap(ids, segments)


def panoptic_paths(out_dir: Path, split: str) -> tuple[Path, Path]:
    """The JSON of a split, and the folder of its PNGs, in COCO's places."""
    file = out_dir / 'annotations' / f'panoptic_{split}.json'
    return file, file.with_suffix('')


class PanopticWriter:
    """Writes the panoptic files of a split, a picture at a time.

    Args:
        out_dir: Folder of the data set.
        split: Name of the split.
        things: Names of shapes.
        stuff: Names of stuff.
    """

    def __init__(
        self, out_dir: Path, split: str, things: Sequence[str], stuff: Sequence[str]
    ) -> None:
        self.file, self.folder = panoptic_paths(out_dir, split)
        self.folder.mkdir(parents=True, exist_ok=True)
        categories = [Category(CATEGORIES[name].id, name, True) for name in things]
        categories += [Category(STUFF[name].id, name, False) for name in stuff]
        self.categories = sorted(categories)
        self.annotations: list[dict[str, Any]] = []

    def add(self, image: dict[str, Any], panoptic: PanopticMap) -> None:
        """Write the PNG of a picture.

        Args:
            image: Its entry in the COCO file.
            panoptic: Its segments.
        """
        name = f'{Path(image["file_name"]).stem}.png'
        write_panoptic_png(self.folder / name, panoptic.ids)
        self.annotations.append(panoptic_annotation(image['id'], name, panoptic))

    def close(self, images: Sequence[dict[str, Any]]) -> None:
        """Write the JSON.

        Args:
            images: Entries of all pictures.
        """
        save_panoptic_json(self.file, self.annotations, self.categories, images)
