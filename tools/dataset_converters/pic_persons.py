"""Write COCO annotations of the persons in PIC (Person in Context), for BlendMask on persons.

PIC has two PNGs for each picture: one with a number for each instance (0 is none), one with the
class of each pixel. Instances of class 1 become the category ``person``.

Example::

    python tools/dataset_converters/pic_persons.py INSTANCES SEMANTIC train_person.json --images DIR
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from polarseg.datasets.shapes.masks import tight_box

PERSON = 1
"""The class of persons in the semantic PNGs, and the category's id."""


def read_labels(path: Path) -> np.ndarray:
    """Numbers of a PNG with one channel, or with a palette, whose colours do not matter.

    Returns:
        ``[H, W]`` int64.

    Raises:
        ValueError: if it is no such picture.
    """
    try:
        with Image.open(path) as image:
            labels = np.array(image)
    except OSError as error:
        raise ValueError(f'{path}: cannot be read as a picture ({error})') from error
    if labels.ndim != 2 or labels.dtype == bool:
        raise ValueError(
            f'{path}: must have one channel of numbers, got {labels.dtype} of {list(labels.shape)}'
        )
    return labels.astype(np.int64)


def trace_polygons(mask: np.ndarray) -> list[list[float]]:
    """Outlines of a mask through the centres of its border pixels, holes filled, as published.

    Args:
        mask: ``[H, W]`` bool.

    Returns:
        ``[x0, y0, x1, y1, ...]`` of each outline with more than 2 points, pixels.
    """
    outlines = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [points.ravel().astype(float).tolist() for points in outlines[0] if len(points) > 2]


def find_persons(
    instances: np.ndarray, classes: np.ndarray, left_out: Counter[str]
) -> Iterator[dict[str, Any]]:
    """COCO annotations of the persons of one picture, without ``id`` and ``image_id``.

    Args:
        instances: ``[H, W]`` number of the instance at each pixel, 0 for none.
        classes: ``[H, W]`` class of each pixel; an instance has the one of most of its pixels.
        left_out: counts what is no person, by reason.
    """
    for number in np.unique(instances[instances != 0]):
        mask = instances == number
        values, counts = np.unique(classes[mask], return_counts=True)
        if values[counts.argmax()] != PERSON:
            left_out['instances of another class'] += 1
            continue
        polygons = trace_polygons(mask)
        if not polygons:
            left_out['persons without an outline of more than 2 points'] += 1
            continue
        yield dict(
            category_id=PERSON,
            iscrowd=0,
            bbox=list(tight_box(mask)),
            area=int(mask.sum()),
            segmentation=polygons,
        )


def pair_files(instance_dir: Path, semantic_dir: Path) -> Iterator[tuple[Path, Path]]:
    """The two PNGs of each picture, by name.

    Raises:
        ValueError: if there is none, or one is without the other.
    """
    first, second = ({p.stem: p for p in d.glob('*.png')} for d in (instance_dir, semantic_dir))
    if not first:
        raise ValueError(f'there is no PNG in {instance_dir}')
    single = sorted(first.keys() ^ second.keys())
    if single:
        raise ValueError(
            f'{instance_dir} and {semantic_dir} must have a PNG each for a picture; {len(single)} '
            f'picture(s) have one alone, the first is {single[0]}'
        )
    for stem in sorted(first):
        yield first[stem], second[stem]


def find_picture(stem: str, images: Path | None) -> str:
    """File name of a picture.

    Raises:
        ValueError: if the folder has none, or several, of this stem.
    """
    if images is None:
        return f'{stem}.jpg'
    found = sorted(path.name for path in images.iterdir() if path.stem == stem)
    if len(found) != 1:
        raise ValueError(f'{images} must have one picture named {stem}, got {found}')
    return found[0]


def convert(
    instance_dir: Path, semantic_dir: Path, images: Path | None = None
) -> tuple[dict[str, list], Counter[str]]:
    """COCO content of two folders of PNGs, and how much was left out for which reason.

    Raises:
        ValueError: if the files do not fit together.
    """
    content: dict[str, list] = dict(images=[], annotations=[])
    left_out: Counter[str] = Counter()
    pairs = pair_files(instance_dir, semantic_dir)
    for image_id, (instance_file, semantic_file) in enumerate(pairs, start=1):
        instances, classes = read_labels(instance_file), read_labels(semantic_file)
        if instances.shape != classes.shape:
            raise ValueError(
                f'{instance_file} and {semantic_file} must have the same size, got '
                f'{list(instances.shape)} and {list(classes.shape)}'
            )
        height, width = instances.shape
        name = find_picture(instance_file.stem, images)
        content['images'].append(dict(id=image_id, file_name=name, height=height, width=width))
        for person in find_persons(instances, classes, left_out):
            number = len(content['annotations']) + 1
            content['annotations'].append(dict(id=number, image_id=image_id, **person))
    content['categories'] = [dict(id=PERSON, name='person', supercategory='person')]
    return content, left_out


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('instance_dir', type=Path, help='folder with the PNGs of instances')
    parser.add_argument('semantic_dir', type=Path, help='folder with the PNGs of classes')
    parser.add_argument('out', type=Path, help='COCO file to write')
    parser.add_argument(
        '--images', type=Path, help='folder with the pictures, for their names (NAME.jpg)'
    )
    parser.add_argument('--force', action='store_true', help='replace the file')
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Write the file that the command line asks for."""
    parser = build_parser()
    args = parser.parse_args(argv)
    for folder in (args.instance_dir, args.semantic_dir, args.images):
        if folder is not None and not folder.is_dir():
            parser.error(f'there is no folder {folder}')
    if args.out.exists() and not args.force:
        parser.error(f'{args.out} exists; --force replaces it')
    try:
        content, left_out = convert(args.instance_dir, args.semantic_dir, args.images)
    except ValueError as error:
        parser.error(str(error))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(content))
    for reason, count in left_out.items():
        print(f'left out {count} {reason}')
    pictures, persons = len(content['images']), len(content['annotations'])
    print(f'{persons} persons in {pictures} pictures written to {args.out}')


if __name__ == '__main__':
    main()
