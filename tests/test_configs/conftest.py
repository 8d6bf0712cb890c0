"""A small COCO data set, and what configs look like on it."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from polarseg.apis import prepare_config

SIZES = {1: (75, 100), 2: (100, 60), 3: (80, 80)}  # height, width


def annotation(number, image, box, segmentation, crowd=0):
    _, _, width, height = box
    return dict(
        id=number,
        image_id=image,
        category_id=1,
        iscrowd=crowd,
        bbox=box,
        area=width * height,
        segmentation=segmentation,
    )


def run_lengths(height, width, rows, columns):
    mask = np.zeros((height, width), np.uint8, order='F')
    mask[slice(*rows), slice(*columns)] = 1
    return dict(size=[height, width], counts=coco_mask.encode(mask)['counts'].decode())


@pytest.fixture(scope='session')
def small_coco(tmp_path_factory):
    """Polygons in whole numbers with a crowd; run lengths beside a polygon; a crowd alone."""
    root = tmp_path_factory.mktemp('coco')
    rng = np.random.default_rng(0)
    for split in ('train2017', 'val2017'):
        (root / split).mkdir()
        for number, (height, width) in SIZES.items():
            picture = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            cv2.imwrite(str(root / split / f'{number}.png'), picture)
    rectangle = [[10, 20, 49, 20, 49, 70, 10, 70]]
    annotations = [
        annotation(1, 1, [10, 20, 39, 50], rectangle),
        annotation(2, 1, [0, 0, 30, 9], run_lengths(75, 100, (0, 9), (0, 30)), crowd=1),
        annotation(3, 1, [60, 5, 40, 70], [[60, 5, 100, 5, 100, 75, 60, 75]]),
        annotation(4, 2, [10, 20, 39, 50], rectangle),
        annotation(5, 2, [5, 80, 50, 15], run_lengths(100, 60, (80, 95), (5, 55))),
        annotation(6, 3, [0, 0, 40, 40], run_lengths(80, 80, (0, 40), (0, 40)), crowd=1),
    ]
    content = dict(
        images=[
            dict(id=number, file_name=f'{number}.png', height=height, width=width)
            for number, (height, width) in SIZES.items()
        ],
        categories=[dict(id=1, name='thing')],
        annotations=annotations,
    )
    (root / 'annotations').mkdir()
    for split in ('train', 'val'):
        (root / f'annotations/instances_{split}2017.json').write_text(json.dumps(content))
    return root


@pytest.fixture
def on_small_coco(repo_root, small_coco):
    """Function: a config by its name, on the small data set, with a short side and flips or not."""

    def load(name, short_side, flip):
        cfg = prepare_config(
            repo_root / f'configs/{name}.py', cfg_options=dict(data_root=f'{small_coco}/')
        )
        for loader in (cfg.train_dataloader, cfg.test_dataloader):
            loader.dataset.metainfo = dict(classes=('thing',))
            for step in loader.dataset.pipeline:
                if step.type == 'ShortestEdgeResize':
                    # a length that none of the pictures has, so that pixels are rounded
                    step.update(scales=[short_side], max_size=1000, sampling='choice')
                if step.type == 'RandomFlip':
                    step.prob = 1.0 if flip else 0.0
        return cfg

    return load
