"""A tiny PolarMask and drawn ground truth for the model tests."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from polarseg.registry import MODELS
from polarseg.structures import PackedContours, largest_contour, mass_center

CHANNELS = 32
STRIDES = (8, 16, 32)
SIZE = 128
# (class, centre, half axes) of ellipses
SHAPES = (
    [(0, (40, 44), (20, 14)), (2, (92, 84), (26, 30)), (1, (100, 20), (9, 8))],
    [(1, (64, 64), (52, 46)), (0, (24, 100), (12, 16))],
)


def instances_of(shapes, inclusive_boxes=False):
    """Ground truth of one picture of ellipses, as the pipeline makes it."""
    contours, boxes = [], []
    for _, center, axes in shapes:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.ellipse(mask, center, axes, 0, 0, 360, 1, -1)
        contour = largest_contour(mask)
        contours.append(contour)
        last = contour.max(axis=0) + (0 if inclusive_boxes else 1)
        boxes.append([*contour.min(axis=0), *last])
    return InstanceData(
        bboxes=torch.tensor(np.array(boxes, np.float32).reshape(-1, 4)),
        labels=torch.tensor([label for label, _, _ in shapes], dtype=torch.long),
        contours=PackedContours.from_list(contours),
        centers=torch.tensor([mass_center(contour) for contour in contours]).reshape(-1, 2),
    )


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def draw():
    """Ground truth from (class, centre, half axes) triples."""
    return instances_of


@pytest.fixture
def ground_truth():
    """Two pictures with 3 and 2 instances."""
    return [instances_of(shapes) for shapes in SHAPES]


def head_config(**options):
    return (
        dict(
            type='PolarMaskHead',
            num_classes=3,
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            stacked_convs=1,
            strides=STRIDES,
            ray_mode='exact',
            assigner=dict(regress_ranges=[(-1, 32), (32, 64), (64, 1e8)]),
            test_cfg=dict(
                score_thr=0.05,
                centerness_offset=0.5,
                nms=dict(type='nms', iou_threshold=0.5),
                max_per_img=100,
            ),
        )
        | options
    )


@pytest.fixture
def build_head():
    """A head of 32 channels on three levels; keywords as for ``PolarMaskHead``."""

    def build(**options):
        head = MODELS.build(head_config(**options))
        head.init_weights()
        return head

    return build


@pytest.fixture
def feats():
    """Features of two pictures of 128 x 128."""
    return [torch.randn(2, CHANNELS, SIZE // stride, SIZE // stride) for stride in STRIDES]


@pytest.fixture
def metas():
    return [dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE), scale_factor=(1.0, 1.0))] * 2


@pytest.fixture
def build_detector():
    """PolarMask with ResNet-18, from scratch; keywords are those of its head."""

    def build(pad_size_divisor=32, **options):
        head = head_config(**options)
        model = MODELS.build(
            dict(
                type='PolarMask',
                data_preprocessor=dict(
                    type='DetDataPreprocessor',
                    mean=[127.5] * 3,
                    std=[64.0] * 3,
                    pad_size_divisor=pad_size_divisor,
                ),
                backbone=dict(type='ResNet', depth=18, out_indices=(0, 1, 2, 3)),
                neck=dict(
                    type='FPN',
                    in_channels=[64, 128, 256, 512],
                    out_channels=CHANNELS,
                    start_level=1,
                    num_outs=3,
                ),
                bbox_head=head,
                # mmdet's detectors hand theirs on to the head
                test_cfg=head.pop('test_cfg'),
            )
        )
        model.init_weights()
        return model

    return build


@pytest.fixture
def make_batch():
    """A batch as a data loader gives it; pictures of random pixels, one for each ground truth."""

    def make(ground_truth, sizes=None):
        inputs, samples = [], []
        for number, instances in enumerate(ground_truth):
            height, width = sizes[number] if sizes else (SIZE, SIZE)
            generator = torch.Generator().manual_seed(number)
            picture = torch.randint(0, 256, (3, height, width), generator=generator)
            inputs.append(picture.to(torch.uint8))
            shape = dict(img_shape=(height, width), ori_shape=(height, width))
            sample = DetDataSample(metainfo=dict(shape, img_id=number, scale_factor=(1.0, 1.0)))
            sample.gt_instances = instances
            samples.append(sample)
        return dict(inputs=inputs, data_samples=samples)

    return make
