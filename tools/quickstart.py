"""The part of tools/quickstart.sh behind the installation: data, training, evaluation, pictures.

Everything is also a command of its own, which is printed, so that a reader can go on from here.
"""

import argparse
import dataclasses
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from pycocotools.coco import COCO

from polarseg.apis import (
    InstanceInferencer,
    find_pictures,
    prepare_config,
    resolve_checkpoint,
    run_test,
    run_training,
)
from polarseg.datasets.shapes import PROFILES, write_dataset

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/shapes/polarmask_r18_shapes.py'
DEFAULT_WORK_DIR = ROOT / 'work_dirs/quickstart'
MARKER = '.polarseg_quickstart'


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {text}')
    return int(text)


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=DEFAULT_WORK_DIR,
        help='an earlier quickstart there is replaced (default: %(default)s)',
    )
    pictures = 'pictures (default: %(default)s)'
    parser.add_argument('--train', type=positive, default=1400, help=pictures)
    parser.add_argument('--val', type=positive, default=60, help=pictures)
    parser.add_argument('--epochs', type=positive, help="default: the config's")
    return parser.parse_args()


def start_afresh(work_dir: Path) -> None:
    """An empty ``work_dir``; what an earlier quickstart left there is deleted, nothing else.

    Raises:
        FileExistsError: if the folder holds files and is none that a quickstart has made.
    """
    marker = work_dir / MARKER
    ours = work_dir == DEFAULT_WORK_DIR or marker.is_file()
    if work_dir.exists() and not ours and (not work_dir.is_dir() or any(work_dir.iterdir())):
        raise FileExistsError(f'{work_dir} holds files of others: name a new or empty folder')
    if work_dir.exists():
        shutil.rmtree(work_dir)
    work_dir.mkdir(parents=True)
    marker.touch()


class Stopwatch:
    """Seconds of the named steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str, command: str) -> Iterator[None]:
        """Time a step; ``command`` is what a user types for it alone."""
        print(f'\n==> {name}: {command}', flush=True)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 1)


def relative(path: Path) -> str:
    """A path as a user standing in the repository types it."""
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)


def draw_comparison(
    inferencer: InstanceInferencer, pictures: list[Path], annotations: COCO, target: Path
) -> None:
    """A sheet of pictures in pairs: annotated outlines on the left, predictions on the right."""
    by_name = {image['file_name']: image_id for image_id, image in annotations.imgs.items()}
    tiles = []
    for prediction in inferencer(pictures):
        drawn = inferencer.draw(prediction)
        height, width = drawn.shape[:2]
        truth = cv2.resize(prediction.image, (width, height), interpolation=cv2.INTER_CUBIC)
        for annotation in annotations.imgToAnns[by_name[prediction.path.name]]:
            mask = cv2.resize(annotations.annToMask(annotation), (width, height))
            contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(truth, contours, -1, (255, 255, 255), 2)
        pair = np.hstack([truth, drawn])
        pair = cv2.resize(pair, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        tiles.append(np.pad(pair, ((4, 4), (4, 4), (0, 0)), constant_values=255))
    columns = min(3, len(tiles))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    if not cv2.imwrite(str(target), np.vstack(rows)):
        raise OSError(f'{target}: OpenCV could not write it')


def draw_curve(scalars: Path, target: Path) -> None:
    """Losses and validation AP over the iterations, from mmengine's log."""
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    losses = [line for line in lines if 'loss' in line]
    scores = [line for line in lines if 'coco/segm_mAP' in line]
    per_epoch = max(line['step'] for line in losses) / max(line['epoch'] for line in losses)
    figure = Figure(figsize=(8, 4.5), layout='constrained')
    axes = figure.subplots()
    steps = [line['step'] for line in losses]
    for name in ('loss_cls', 'loss_bbox', 'loss_mask', 'loss_centerness'):
        axes.plot(steps, [line[name] for line in losses], '.-', markersize=4, label=name)
    axes.set(xlabel='iteration', ylabel='loss', ylim=(0, None), title='PolarMask on shapes')
    axes.grid(alpha=0.3)
    right = axes.twinx()
    right.plot(
        [line['step'] * per_epoch for line in scores],
        [line['coco/segm_mAP'] for line in scores],
        'k--o',
        label='val segm AP (right)',
    )
    right.set(ylabel='segm AP', ylim=(0, 1))
    handles = [*axes.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, loc='center right')
    figure.savefig(target, dpi=110)


def print_summary(summary: dict, pictures: int) -> None:
    """What was reached, how long it took and where it lies."""
    print(f'\nsegm AP {summary["segm_AP"]:.3f} on {pictures} held-out pictures')
    for name, seconds in summary['seconds'].items():
        print(f'  {name:<10} {seconds:7.1f} s')
    for name, path in summary['paths'].items():
        print(f'  {name:<16} {path}')


def main() -> None:
    """Run all steps and write ``summary.json``."""
    args = parse_args()
    work_dir: Path = args.work_dir.resolve()
    data, drawn = work_dir / 'data', work_dir / 'pictures'
    try:
        start_afresh(work_dir)
    except FileExistsError as error:
        sys.exit(f'error: {error}')
    drawn.mkdir()
    step = Stopwatch()
    if 'POLARSEG_INSTALL_SECONDS' in os.environ:
        step.seconds['install'] = float(os.environ['POLARSEG_INSTALL_SECONDS'])
    options = dict(data_root=f'{data}/')
    config, data_option = relative(CONFIG), f'--cfg-options data_root={relative(data)}/'
    train_option = data_option
    if args.epochs:
        # the learning rate falls until the last epoch
        epochs = {'train_cfg.max_epochs': args.epochs, 'param_scheduler.1.end': args.epochs}
        options.update(epochs)
        train_option = ' '.join([data_option, *(f'{key}={value}' for key, value in epochs.items())])

    make_shapes = 'python tools/dataset_converters/make_shapes.py'
    sizes = f'--train {args.train} --val {args.val} --size 128 --profile simple'
    with step('data', f'{make_shapes} {relative(data)} {sizes}'):
        shapes = dataclasses.replace(PROFILES['simple'], width=(128, 128), height=(128, 128))
        write_dataset(data, shapes, dict(train=args.train, val=args.val), profile='simple')
    with step(
        'train', f'python tools/train.py {config} --work-dir {relative(work_dir)} {train_option}'
    ):
        runner = run_training(prepare_config(CONFIG, str(work_dir), options))
    checkpoint = work_dir / 'latest.pth'
    test = f'python tools/test.py {config} {relative(checkpoint)} {data_option}'
    with step('evaluate', test):
        metrics = run_test(prepare_config(CONFIG, str(work_dir), options), str(checkpoint))
    demo = f'python demo/image_demo.py {relative(data)}/val {config} {relative(checkpoint)}'
    with step('draw', demo):
        inferencer = InstanceInferencer(prepare_config(CONFIG, str(work_dir), options), checkpoint)
        pictures = find_pictures(data / 'val')[:12]
        annotations = COCO(str(data / 'annotations/instances_val.json'))
        draw_comparison(inferencer, pictures, annotations, drawn / 'val.png')
        scalars = Path(runner.log_dir) / 'vis_data/scalars.json'
        draw_curve(scalars, work_dir / 'training_curve.png')

    summary = dict(
        segm_AP=metrics['coco/segm_mAP'],
        bbox_AP=metrics['coco/bbox_mAP'],
        seconds=step.seconds,
        device=str(inferencer.device),
        threads=torch.get_num_threads(),
        paths=dict(
            checkpoint=relative(Path(resolve_checkpoint(checkpoint))),
            pictures=relative(drawn / 'val.png'),
            training_curve=relative(work_dir / 'training_curve.png'),
            data=relative(data),
            log=relative(Path(runner.log_dir)),
        ),
    )
    (work_dir / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    print_summary(summary, args.val)
    print(f'all of this in {relative(work_dir / "summary.json")}')


if __name__ == '__main__':
    main()
