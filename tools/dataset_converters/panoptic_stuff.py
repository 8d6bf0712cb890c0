r"""Write the labels of stuff of a panoptic data set as PNGs, 0 for any thing and 255 for void.

Training needs none: LoadPanopticLabels makes the same labels while it loads. The PNGs take less
time to read, and are those that other programs expect (panoptic_stuff_train2017).

Example::

    python tools/dataset_converters/panoptic_stuff.py \
        data/coco/annotations/panoptic_train2017.json data/coco/panoptic_stuff_train2017 --workers 8
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from polarseg.structures.label_maps import UNLABELLED, semantic_labels
from polarseg.structures.panoptic import Segment
from polarseg.structures.panoptic_files import PanopticFiles
from polarseg.structures.panoptic_png import read_panoptic_map


def stuff_names(files: PanopticFiles) -> tuple[str, ...]:
    """All stuff of a file in the order of the ids, which is the published order."""
    return tuple(c.name for c in sorted(files.categories) if not c.isthing)


def convert(job: tuple[Path, list[Segment], Path], labels: dict[int, int]) -> np.ndarray:
    """Write the PNG of a picture.

    Args:
        job: panoptic PNG, its segments, and the PNG to write.
        labels: of each category id.

    Returns:
        ``[256]`` int64, how many pixels have each label.

    Raises:
        ValueError: if the panoptic PNG cannot be read, or does not fit its segments.
    """
    source, segments, target = job
    semantic = read_panoptic_map(source, segments).semantic(labels, void=UNLABELLED)
    target.write_bytes(cv2.imencode('.png', semantic)[1].tobytes())
    return np.bincount(semantic.ravel(), minlength=256)


def list_jobs(files: PanopticFiles, out_dir: Path) -> Iterator[tuple[Path, list[Segment], Path]]:
    """What :func:`convert` takes for each picture."""
    for number, name in files.png_names().items():
        yield files.png(number), files.segments(number), out_dir / name


def convert_all(jobs: Iterable[tuple], labels: dict[int, int], workers: int) -> np.ndarray:
    """Convert all pictures by some processes; the number of pixels of each label, ``[256]``."""
    total = np.zeros(256, np.int64)
    work = partial(convert, labels=labels)
    if workers <= 1:
        return sum(map(work, jobs), total)
    with ProcessPoolExecutor(workers) as pool:
        return sum(pool.map(work, jobs, chunksize=32), total)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('panoptic_file', type=Path, help='JSON in COCO panoptic format')
    parser.add_argument('out_dir', type=Path, help='folder to write to')
    parser.add_argument(
        '--folder', type=Path, help='panoptic PNGs (the folder beside the file, with its name)'
    )
    parser.add_argument(
        '--stuff-classes',
        nargs='+',
        metavar='NAME',
        help='names of stuff in the order of the labels, from 1 (all, in the order of the ids)',
    )
    parser.add_argument('--workers', type=int, default=1, help='processes (1)')
    parser.add_argument('--force', action='store_true', help='replace PNGs')
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Write what the command line asks for."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        files = PanopticFiles(args.panoptic_file, args.folder)
        names = tuple(args.stuff_classes or stuff_names(files))
        labels = semantic_labels(files.categories, names)
        jobs = list(list_jobs(files, args.out_dir))
        present = [target for _, _, target in jobs if target.exists()]
        if present and not args.force:
            parser.error(f'{present[0]} exists; --force replaces it')
        sources = {source.resolve() for source, _, _ in jobs}
        if any(target.resolve() in sources for _, _, target in jobs):
            parser.error(f'{args.out_dir} is the folder of the panoptic PNGs')
        args.out_dir.mkdir(parents=True, exist_ok=True)
        pixels = convert_all(jobs, labels, args.workers)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f'{len(jobs)} PNGs written to {args.out_dir}; share of the pixels:')
    shown = {0: 'things', **dict(enumerate(names, start=1)), UNLABELLED: 'unlabelled'}
    for label, name in shown.items():
        print(f'{label:>5} {pixels[label] / max(pixels.sum(), 1):>8.2%}  {name}')


if __name__ == '__main__':
    main()
