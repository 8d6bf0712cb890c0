"""Panoptic quality of predictions in the COCO panoptic format: PQ, SQ, RQ of all, things, stuff.

    python tools/analysis_tools/panoptic_quality.py PREDICTED.json TRUE.json --classwise

The PNGs of a file lie in the folder of its name without .json, unless an option says otherwise.
Files that tools/test.py --json-out PREFIX has written are PREFIX.panoptic.json with
PREFIX.panoptic/. Exits with 2, saying what is wrong, when a file cannot be used.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from polarseg.evaluation import PanopticQuality, folder_quality, quality_table
from polarseg.structures.panoptic_files import PanopticFileError, PanopticFiles


def report(quality: PanopticQuality) -> dict:
    """The results for a JSON file, in percent; null where no class occurs.

    Args:
        quality: the results.
    """
    means = {}
    for name, isthing in (('all', None), ('things', True), ('stuff', False)):
        *values, classes = quality.mean(isthing)
        means[name] = dict(zip(('pq', 'sq', 'rq'), map(_percent, values)), classes=classes)
    rows = []
    for row in quality.per_class():
        entry = row._asdict()
        category = entry.pop('category')
        percent = {key: _percent(entry.pop(key)) for key in ('pq', 'sq', 'rq')}
        rows.append(category._asdict() | percent | entry)
    return {**means, 'per_class': rows}


def _percent(share: float) -> float | None:
    return None if math.isnan(share) else 100 * share


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('predicted', type=Path, help='COCO panoptic JSON of the predictions')
    parser.add_argument('truth', type=Path, help='COCO panoptic JSON of the ground truth')
    parser.add_argument('--predicted-folder', type=Path, help='PNGs of the predictions')
    parser.add_argument('--truth-folder', type=Path, help='PNGs of the ground truth')
    parser.add_argument('--classwise', action='store_true', help='a row for each class')
    parser.add_argument(
        '--processes', type=int, default=1, metavar='N', help='that share the pictures [1]'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the results to this file')
    args = parser.parse_args(argv)
    if args.processes < 1:
        parser.error(f'--processes must be at least 1, got {args.processes}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate and print."""
    args = parse_args(argv)
    try:
        truth = PanopticFiles(args.truth, args.truth_folder)
        predictions = PanopticFiles(args.predicted, args.predicted_folder, truth.categories)
        quality = folder_quality(predictions, truth, args.processes)
        print(quality_table(quality, args.classwise))
        print(f'\n{len(truth)} pictures')
        if args.json is not None:
            content = {'pictures': len(truth), **report(quality)}
            args.json.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    except (PanopticFileError, OSError) as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    main()
