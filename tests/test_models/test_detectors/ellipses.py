"""Drawn ground truth with masks, for the tests of whole detectors."""

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData

SIZE = 128
# (class, centre, half axes) of ellipses
SHAPES = (
    [(0, (40, 44), (20, 14)), (2, (92, 84), (26, 30)), (1, (100, 20), (9, 8))],
    [(1, (64, 64), (52, 46)), (0, (24, 100), (12, 16))],
)


def instances_of(shapes, polygons=True):
    """Ground truth of one picture."""
    masks, outlines, boxes = [], [], []
    for _, center, axes in shapes:
        outline = cv2.ellipse2Poly(center, axes, 0, 0, 360, 5).astype(float)
        masks.append(cv2.fillPoly(np.zeros((SIZE, SIZE), np.uint8), [outline.astype(int)], 1))
        outlines.append([outline.reshape(-1)])
        boxes.append([*outline.min(axis=0), *outline.max(axis=0)])
    kind = PolygonMasks(outlines, SIZE, SIZE) if polygons else BitmapMasks(masks, SIZE, SIZE)
    return InstanceData(
        bboxes=torch.tensor(np.array(boxes, np.float32).reshape(-1, 4)),
        labels=torch.tensor([label for label, _, _ in shapes], dtype=torch.long),
        masks=kind,
    )


def batch_of(ground_truth, sizes=None):
    """A batch as a data loader gives it; pictures of random pixels, one for each ground truth."""
    inputs, samples = [], []
    for number, instances in enumerate(ground_truth):
        shape = sizes[number] if sizes else (SIZE, SIZE)
        generator = torch.Generator().manual_seed(number)
        picture = torch.randint(0, 256, (3, *shape), generator=generator)
        meta = dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = instances
        inputs.append(picture.to(torch.uint8))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)
