"""Write a synthetic COCO data set of shapes: pictures, annotations, and a table of what is in it.

Example::

    python tools/dataset_converters/make_shapes.py data/shapes --train 120 --val 40 --size 192
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from polarseg.datasets.shapes import (
    PHENOMENA,
    PROFILES,
    ShapesConfig,
    ShapesConfigError,
    contact_sheet,
    missing_phenomena,
    parse_size,
    write_dataset,
)


def build_parser() -> argparse.ArgumentParser:
    """The command line: data set options, and one option for every field of ShapesConfig."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out_dir', type=Path, help='folder to write to')
    parser.add_argument('--train', type=int, default=120, help='training pictures (120)')
    parser.add_argument('--val', type=int, default=40, help='validation pictures (40)')
    parser.add_argument('--size', help='picture size: N, WxH or MIN-MAX pixels (192)')
    parser.add_argument('--seed', type=int, default=0, help='seed, not negative (0)')
    parser.add_argument('--profile', choices=list(PROFILES), default='mixed', help='preset (mixed)')
    parser.add_argument('--format', choices=['png', 'jpg'], default='png', help='file format (png)')
    parser.add_argument('--force', action='store_true', help='replace the files of an earlier run')
    parser.add_argument('--preview', type=Path, help='also write a contact sheet to this file')
    group = parser.add_argument_group('settings, each overrides the profile')
    for item in dataclasses.fields(ShapesConfig):
        first = next(iter(item.default), '') if isinstance(item.default, tuple) else item.default
        shape: dict[str, Any] = {'type': type(first), 'metavar': type(first).__name__.upper()}
        if item.name in ('categories', 'stuff'):
            shape.update(nargs='+', metavar='NAME')
        elif isinstance(item.default, tuple):
            shape.update(nargs=2, metavar=('MIN', 'MAX'))
        option = '--' + item.name.replace('_', '-')
        # Percent signs are format codes to argparse.
        group.add_argument(option, help=item.metadata['help'].replace('%', '%%'), **shape)
    return parser


def config_from_args(args: argparse.Namespace) -> ShapesConfig:
    """The profile with the options given.

    Raises:
        ShapesConfigError: If the settings are out of range or contradict each other.
    """
    given = {item.name: getattr(args, item.name) for item in dataclasses.fields(ShapesConfig)}
    changes = {name: value for name, value in given.items() if value is not None}
    if args.size is not None:
        width, height = parse_size(args.size)
        changes = {'width': width, 'height': height, **changes}
    return dataclasses.replace(PROFILES[args.profile], **changes)


def print_table(tallies: dict[str, dict[str, int]]) -> None:
    """Print the counts of every split side by side."""
    print(''.join(f'{head:>12}' for head in ('', *tallies)))
    for key, meaning in PHENOMENA.items():
        counts = ''.join(f'{tally[key]:>12}' for tally in tallies.values())
        print(f'{key:>12}{counts}   {meaning}')


def main(argv: Sequence[str] | None = None) -> None:
    """Write the data set that the command line asks for."""
    parser = build_parser()
    args = parser.parse_args(argv)
    splits = {'train': args.train, 'val': args.val}
    try:
        config = config_from_args(args)
        tallies = write_dataset(
            args.out_dir, config, splits, args.seed, args.profile, args.format, args.force
        )
    except (ShapesConfigError, FileExistsError) as error:
        parser.error(f'{type(error).__name__}: {error}')
    print_table(tallies)
    for split, tally in tallies.items():
        missing = missing_phenomena(config, tally)
        if missing and splits[split]:
            print(f'warning: {split} shows no {", ".join(missing)}', file=sys.stderr)
    if args.preview:
        split = next((name for name, count in splits.items() if count), None)
        if split is None:
            parser.error('--preview needs at least one picture')
        folder = args.out_dir / 'annotations'
        panoptic_file = folder / f'panoptic_{split}.json' if config.stuff else None
        sheet = contact_sheet(
            folder / f'instances_{split}.json', args.out_dir / split, panoptic_file=panoptic_file
        )
        if not cv2.imwrite(str(args.preview), sheet):
            raise OSError(f'cannot write {args.preview}')
    print(f'written to {args.out_dir}')


if __name__ == '__main__':
    main()
