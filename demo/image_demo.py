"""Predict pictures: drawn pictures and one COCO-format JSON come out.

    python demo/image_demo.py PICTURE|FOLDER|'GLOB' CONFIG CHECKPOINT --out-dir outputs

The drawing of a.jpg is outputs/a.jpg.png; pictures of several folders keep their folders. Files
that cannot be read are left out and named, and the exit code is then 1.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import DictAction

from polarseg.apis import InstanceInferencer, Prediction, find_pictures, predictions_to_coco
from polarseg.visualization import draw_bases


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', help='picture, folder of pictures, or glob pattern in quotes')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint; DIR/latest.pth is the newest of DIR')
    parser.add_argument('--out-dir', default='outputs', type=Path, help='default: %(default)s')
    parser.add_argument(
        '--score-thr',
        type=float,
        help='draw and write what scores higher; default: 0.3, or 0 with --confidence-threshold',
    )
    parser.add_argument(
        '--confidence-threshold',
        type=float,
        metavar='P',
        help="the model's own threshold, test_cfg.score_thr, as in the published demos. That of "
        'BlendMask is on class probability times centerness, before the square root of the score: '
        '0.35 keeps scores above 0.59. Panoptic models take instances from this score on',
    )
    parser.add_argument(
        '--draw-bases', action='store_true', help="draw BlendMask's bases too: a.jpg.bases.png"
    )
    parser.add_argument('--batch-size', type=int, default=1, help='default: %(default)s')
    parser.add_argument('--device', help="'cpu', 'cuda:0', ...; default: a GPU if there is one")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='KEY=VALUE ...')
    args = parser.parse_args()
    args.cfg_options = dict(args.cfg_options or {})
    if args.confidence_threshold is not None:
        args.cfg_options['model.test_cfg.score_thr'] = args.confidence_threshold
    if args.draw_bases:
        args.cfg_options['model.return_bases'] = True
    if args.score_thr is None:
        args.score_thr = 0.3 if args.confidence_threshold is None else 0.0
    return args


def drawing_paths(pictures: Sequence[Path], out_dir: Path) -> dict[Path, Path]:
    """The file of each picture's drawing, no two the same.

    Full names below the pictures' common folder, since a.jpg and a.png may lie side by side, and
    x/a.png beside y/a.png.
    """
    absolute = {picture: Path(os.path.abspath(picture)) for picture in pictures}
    common = os.path.commonpath([path.parent for path in absolute.values()])
    return {
        picture: out_dir / f'{path.relative_to(common)}.png' for picture, path in absolute.items()
    }


def write(target: Path, drawing: np.ndarray) -> None:
    """Write a drawing.

    Raises:
        OSError: if that fails.
    """
    if not cv2.imwrite(str(target), drawing):
        raise OSError(f'{target}: OpenCV could not write it')


def main() -> None:
    """Run the demo; exits with 1 where pictures could not be read, after doing the others."""
    args = parse_args()
    skipped = []

    def skip(picture: Path, error: Exception) -> None:
        print(f'skipped: {error}', file=sys.stderr)
        skipped.append(picture)

    try:
        pictures = find_pictures(args.source)
        inferencer = InstanceInferencer(args.config, args.checkpoint, args.device, args.cfg_options)
        fusion = getattr(inferencer.model, 'panoptic_fusion', None)
        if fusion is not None and args.confidence_threshold is not None:
            fusion.instance_score_thr = args.confidence_threshold
        predictions = inferencer(pictures, args.batch_size, on_unreadable=skip)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f'error: {error}')
    args.out_dir.mkdir(parents=True, exist_ok=True)
    targets = drawing_paths(pictures, args.out_dir)

    def drawn() -> Iterator[Prediction]:
        for prediction in predictions:
            target = targets[prediction.path]
            target.parent.mkdir(parents=True, exist_ok=True)
            write(target, inferencer.draw(prediction, args.score_thr))
            if prediction.bases is not None:
                size = prediction.image.shape[:2]
                write(target.with_suffix('.bases.png'), draw_bases(prediction.bases, size))
            count = len(prediction.above(args.score_thr))
            print(f'{prediction.path}: {count} instances -> {target}')
            yield prediction

    coco = predictions_to_coco(
        drawn(), inferencer.classes, args.score_thr, inferencer.inclusive_boxes
    )
    target = args.out_dir / 'predictions.json'
    target.write_text(json.dumps(coco))
    print(f'{len(coco["annotations"])} instances in {len(coco["images"])} pictures -> {target}')
    if skipped:
        names = ', '.join(map(str, skipped))
        sys.exit(f'skipped {len(skipped)} of {len(pictures)}, which cannot be read: {names}')


if __name__ == '__main__':
    main()
