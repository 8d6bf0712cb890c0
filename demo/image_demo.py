"""Predict pictures: drawn pictures and one COCO-format JSON come out.

python demo/image_demo.py PICTURE|FOLDER|'GLOB' CONFIG CHECKPOINT --out-dir outputs
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
from mmengine.config import DictAction

from polarseg.apis import InstanceInferencer, Prediction, find_pictures, predictions_to_coco


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', help='picture, folder of pictures, or glob pattern in quotes')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint; DIR/latest.pth is the newest of DIR')
    parser.add_argument('--out-dir', default='outputs', type=Path, help='default: %(default)s')
    parser.add_argument('--score-thr', type=float, default=0.3, help='default: %(default)s')
    parser.add_argument('--batch-size', type=int, default=1, help='default: %(default)s')
    parser.add_argument('--device', help="'cpu', 'cuda:0', ...; default: a GPU if there is one")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='KEY=VALUE ...')
    return parser.parse_args()


def main() -> None:
    """Run the demo; exits with 1 where pictures could not be read, after doing the others."""
    args = parse_args()
    try:
        pictures = find_pictures(args.source)
        inferencer = InstanceInferencer(args.config, args.checkpoint, args.device, args.cfg_options)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f'error: {error}')
    args.out_dir.mkdir(parents=True, exist_ok=True)
    readable, skipped = [], []
    for path in pictures:
        (readable if cv2.haveImageReader(str(path)) else skipped).append(path)

    def drawn() -> Iterator[Prediction]:
        for prediction in inferencer(readable, args.batch_size):
            target = args.out_dir / f'{prediction.path.stem}.png'
            cv2.imwrite(str(target), inferencer.draw(prediction, args.score_thr))
            count = len(prediction.above(args.score_thr))
            print(f'{prediction.path}: {count} instances -> {target}')
            yield prediction

    coco = predictions_to_coco(
        drawn(), inferencer.classes, args.score_thr, inferencer.inclusive_boxes
    )
    target = args.out_dir / 'predictions.json'
    target.write_text(json.dumps(coco))
    print(f'{len(coco["annotations"])} instances in {len(readable)} pictures -> {target}')
    if skipped:
        names = ', '.join(map(str, skipped))
        sys.exit(f'skipped {len(skipped)} of {len(pictures)}, not pictures: {names}')


if __name__ == '__main__':
    main()
