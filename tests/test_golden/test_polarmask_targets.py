"""Training targets on real polygons, bit for bit."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from stored_lengths import assert_published_lengths

from polarseg.registry import DATASETS, MODELS, TRANSFORMS

pytestmark = pytest.mark.golden('polarmask_targets')


@pytest.fixture(scope='module')
def config(request):
    root = request.config.rootpath
    return Config.fromfile(root / 'configs/polarmask/4gpu/polar_768_1x_r50.py')


def annotations_of(entry, entries):
    """An entry's own, or those of the entry of the same picture at its own size."""
    if isinstance(entry['annotations'], list):
        return entry['annotations']
    same_picture = (other for other in entries if other['image_id'] == entry['image_id'])
    return next(
        other['annotations'] for other in same_picture if isinstance(other['annotations'], list)
    )


def write_coco(entry, folder):
    """One entry of the case as a picture and a COCO file; labels 1..80 stand in the category."""
    cv2.imwrite(
        str(folder / 'picture.png'), np.zeros((entry['height'], entry['width'], 3), np.uint8)
    )
    classes = [f'class {label}' for label in range(1, 81)]
    content = dict(
        images=[dict(id=1, file_name='picture.png', height=entry['height'], width=entry['width'])],
        categories=[dict(id=label + 1, name=name) for label, name in enumerate(classes)],
        annotations=[
            dict(iscrowd=0)
            | annotation
            | dict(id=index + 1, image_id=1, category_id=annotation['label'])
            for index, annotation in enumerate(entry['annotations'])
        ],
    )
    (folder / 'annotations.json').write_text(json.dumps(content))
    return classes


def load_entry(entry, config, folder):
    """The entry through the published config's own data set and pipeline."""
    classes = write_coco(entry, folder)
    resize = entry['resize'] or dict(width=entry['width'], height=entry['height'], flip=False)
    options = dict(config.train_dataloader.dataset)
    steps = []
    for step in options['pipeline']:
        step = dict(step)
        if step['type'] == 'Resize':
            step['scale'] = (resize['width'], resize['height'])
            step['keep_ratio'] = resize.get('keep_ratio', False)
        if step['type'] == 'RandomFlip':
            step['prob'] = 1.0 if resize['flip'] else 0.0
        if step['type'] == 'DropTinyMasks':
            # an entry of which nothing is left is compared too
            step['keep_empty'] = True
        if step['type'] == 'TracePolarContours':
            step['keep_masks'] = True
        steps.append(step)
    options.update(
        data_root=str(folder),
        ann_file='annotations.json',
        data_prefix=dict(img=''),
        filter_cfg=None,
        metainfo=dict(classes=tuple(classes)),
        pipeline=[],
    )
    dataset = DATASETS.build(options)
    data = dataset.get_data_info(0)
    sample = Compose([TRANSFORMS.build(step) for step in steps])(data)
    return sample['data_samples'].gt_instances


def test_targets(case, config, tmp_path):
    arrays = case['arrays']
    head = MODELS.build(
        dict(config.model.bbox_head, in_channels=32, feat_channels=32, test_cfg=None)
    )
    for number, entry in enumerate(case['entries']):
        entry = dict(entry, annotations=annotations_of(entry, case['entries']))
        folder = tmp_path / str(number)
        folder.mkdir()
        instances = load_entry(entry, config, folder)
        own = arrays['gt_image'] == number
        assert len(instances) == len(entry['kept']) == own.sum()
        np.testing.assert_array_equal(instances.centers.numpy(), arrays['gt_center'][own])
        lengths = instances.contours.offsets.diff().numpy()
        np.testing.assert_array_equal(lengths, arrays['gt_n_points'][own])
        contours = [
            cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)[0]
            for mask in instances.masks.to_ndarray()
        ]
        np.testing.assert_array_equal([*map(len, contours)], arrays['gt_n_contours'][own])
        areas = [cv2.contourArea(contour) for contour in instances.contours.numpy()]
        np.testing.assert_allclose(areas, arrays['gt_contour_area'][own])

        instances.bboxes = instances.bboxes.tensor
        sizes = [tuple(size) for size in entry['feature_sizes']]
        targets = head.get_targets(sizes, [instances])
        points = head.point_generator.grid_priors(sizes, device='cpu')
        grids = [level.unflatten(0, size) for level, size in zip(points, sizes)]
        assigned = head.assigner(grids, head.strides, instances.bboxes, instances.centers)
        own = arrays['pos_image'] == number
        np.testing.assert_array_equal(targets.positive.numpy(), arrays['pos_index'][own])
        labels = targets.labels[targets.positive] + 1
        np.testing.assert_array_equal(labels.numpy(), arrays['pos_label'][own])
        np.testing.assert_array_equal(assigned.gt_index.numpy(), arrays['pos_gt'][own])
        np.testing.assert_array_equal(targets.distances.numpy(), arrays['pos_bbox_target'][own])
        assert_published_lengths(targets.rays.numpy(), arrays['pos_dist'][own])
        background = torch.ones(len(targets.labels), dtype=torch.bool)
        background[targets.positive] = False
        assert (targets.labels[background] == head.num_classes).all()
