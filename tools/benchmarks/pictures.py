"""Pictures to make PolarMask's targets of: synthetic ones, and those of published targets."""

import argparse
import contextlib
import io
import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor

from polarseg.datasets.transforms import TracePolarContours
from polarseg.models.dense_heads import PolarMaskHead
from polarseg.registry import DATASETS, TRANSFORMS

__all__ = [
    'Picture',
    'RayInputs',
    'build_head',
    'feature_sizes',
    'golden_folder',
    'instances_of',
    'published_pictures',
    'ray_inputs',
    'synthetic_masks',
]

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/polarmask/4gpu/polar_768_1x_r50.py'
TARGETS = ('polarmask_targets.json', 'polarmask_targets.npz')


@dataclass(frozen=True)
class RayInputs:
    """Arguments of ``polar_ray_targets`` for the positives of one picture."""

    contours: Tensor
    offsets: Tensor
    locations: Tensor
    instance_index: Tensor

    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """In the operator's order."""
        return self.contours, self.offsets, self.locations, self.instance_index

    def to(self, device: str) -> 'RayInputs':
        """On another device."""
        return RayInputs(*(tensor.to(device) for tensor in self.arguments()))


@dataclass(frozen=True)
class Picture:
    """A picture of stored published targets.

    Attributes:
        inputs: its positives and contours.
        rays: ``[N, 36]`` the stored ray lengths.
    """

    inputs: RayInputs
    rays: Tensor


# ---- synthetic pictures --------------------------------------------------------------------------


def synthetic_masks(count: int, height: int, width: int, seed: int = 0) -> dict:
    """Random smooth blobs as a loader's sample holds them behind the geometric transforms.

    Radii are spread evenly over the scales, from 1.6 % to 32 % of the picture's shorter side; on
    800 x 1280 pixels the median area is that of a square of 100 pixels, about COCO's at that size.
    A blob is an ellipse of random axes whose outline five harmonics bend.

    Returns:
        ``gt_masks``, ``gt_bboxes`` (naming their last pixel, the published convention),
        ``gt_bboxes_labels``, ``gt_ignore_flags``, ``img_id``.
    """
    generator = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), np.uint8)
    boxes = np.zeros((count, 4), np.float32)
    for mask, box in zip(masks, boxes):
        radius = min(height, width) * 10 ** generator.uniform(-1.8, -0.5)
        center = generator.uniform(radius / 2, np.array([width, height]) - radius / 2)
        outline = (center + radius * blob(generator)).round().astype(np.int32)
        cv2.fillPoly(mask, [outline], 1)
        rows, columns = np.nonzero(mask)
        box[:] = columns.min(), rows.min(), columns.max(), rows.max()
    return dict(
        img_id=seed,
        gt_masks=BitmapMasks(masks, height, width),
        gt_bboxes=HorizontalBoxes(torch.from_numpy(boxes)),
        gt_bboxes_labels=generator.integers(0, 80, count),
        gt_ignore_flags=np.zeros(count, dtype=bool),
    )


def blob(generator: np.random.Generator) -> np.ndarray:
    """``[400, 2]`` points of a smooth star-shaped outline of radius about 1 round the origin."""
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    harmonics = np.arange(2, 7)
    heights = generator.uniform(0, 0.45, 5) / harmonics
    shifts = generator.uniform(0, 2 * np.pi, 5)
    radii = 1 + (heights * np.cos(harmonics * turn[:, None] + shifts)).sum(axis=1)
    stretch = generator.uniform(0.7, 1.4)
    x, y = radii * np.cos(turn) * stretch, radii * np.sin(turn) / stretch
    angle = generator.uniform(0, np.pi)
    return np.stack(
        [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=1
    )


# ---- targets through the real code ---------------------------------------------------------------


def build_head() -> PolarMaskHead:
    """The head of the published models' config; narrow, for targets do not look at its layers."""
    init_default_scope('polarseg')
    options = dict(Config.fromfile(CONFIG).model.bbox_head, in_channels=32, feat_channels=32)
    options.pop('type')
    return PolarMaskHead(**options)


def feature_sizes(height: int, width: int, head: PolarMaskHead) -> list[tuple[int, int]]:
    """(height, width) of the levels for a picture padded to the largest stride."""
    largest = max(head.strides)
    padded = [math.ceil(side / largest) * largest for side in (height, width)]
    return [(padded[0] // stride, padded[1] // stride) for stride in head.strides]


def instances_of(sample: dict, transform: TracePolarContours) -> InstanceData:
    """A loader's sample through the transform to the ground truth that the head takes."""
    traced = transform.transform(dict(sample))
    return InstanceData(
        bboxes=traced['gt_bboxes'].tensor,
        labels=torch.from_numpy(traced['gt_bboxes_labels']),
        contours=traced['gt_contours'],
        centers=torch.from_numpy(traced['gt_centers']),
    )


def ray_inputs(
    instances: InstanceData, sizes: list[tuple[int, int]], head: PolarMaskHead
) -> RayInputs:
    """The positives that the head's own assigner picks, with their contours."""
    points = head.point_generator.grid_priors(sizes, dtype=torch.float32, device='cpu')
    grids = [level.unflatten(0, size) for level, size in zip(points, sizes)]
    assigned = head.assigner(grids, head.strides, instances.bboxes, instances.centers)
    contours = instances.contours
    return RayInputs(contours.points, contours.offsets, assigned.points, assigned.gt_index)


# ---- pictures of stored published targets --------------------------------------------------------


def golden_folder(text: str) -> Path:
    """A folder that holds ``TARGETS``, for a command line's option."""
    folder = Path(text)
    for name in TARGETS:
        if not (folder / name).is_file():
            raise argparse.ArgumentTypeError(f'there is no {folder / name}')
    return folder


def published_pictures(folder: Path, head: PolarMaskHead) -> Iterator[Picture]:
    """The pictures of stored published targets, through the config's own pipeline.

    Args:
        folder: from :func:`golden_folder`.
        head: whose assigner picks the positives.
    """
    files = [folder / name for name in TARGETS]
    entries = json.loads(files[0].read_text(encoding='utf-8'))['entries']
    # entries at another size name the picture whose annotations they share
    annotations = {
        entry['image_id']: entry['annotations']
        for entry in entries
        if isinstance(entry['annotations'], list)
    }
    config = Config.fromfile(CONFIG)
    with np.load(files[1]) as stored:
        numbers, rays = stored['pos_image'], torch.from_numpy(stored['pos_dist'])
    for number, entry in enumerate(entries):
        with tempfile.TemporaryDirectory() as scratch:
            sample = load_entry(entry, annotations[entry['image_id']], config, Path(scratch))
        instances = sample['data_samples'].gt_instances
        instances.bboxes = instances.bboxes.tensor
        sizes = [tuple(size) for size in entry['feature_sizes']]
        yield Picture(ray_inputs(instances, sizes, head), rays[torch.from_numpy(numbers == number)])


def load_entry(entry: dict, annotations: list[dict], config: Config, folder: Path) -> dict:
    """One entry as a picture and a COCO file, loaded by the config's data set and transforms."""
    height, width = entry['height'], entry['width']
    cv2.imwrite(str(folder / 'picture.png'), np.zeros((height, width, 3), np.uint8))
    classes = tuple(f'class {label}' for label in range(1, 81))
    content = dict(
        images=[dict(id=1, file_name='picture.png', height=height, width=width)],
        categories=[dict(id=label, name=name) for label, name in enumerate(classes, start=1)],
        annotations=[
            dict(iscrowd=0) | one | dict(id=index, image_id=1, category_id=one['label'])
            for index, one in enumerate(annotations, start=1)
        ],
    )
    (folder / 'annotations.json').write_text(json.dumps(content), encoding='utf-8')
    resize = entry['resize'] or dict(width=width, height=height, flip=False)
    changes = {
        'Resize': dict(
            scale=(resize['width'], resize['height']), keep_ratio=resize.get('keep_ratio', False)
        ),
        'RandomFlip': dict(prob=float(resize['flip'])),
        'DropTinyMasks': dict(keep_empty=True),
    }
    options = dict(config.train_dataloader.dataset)
    steps = [dict(step) | changes.get(step['type'], {}) for step in options['pipeline']]
    options |= dict(
        data_root=str(folder),
        ann_file='annotations.json',
        data_prefix=dict(img=''),
        filter_cfg=None,
        metainfo=dict(classes=classes),
        pipeline=[],
    )
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports on every file
        dataset = DATASETS.build(options)
    return Compose([TRANSFORMS.build(step) for step in steps])(dataset.get_data_info(0))
