"""BlendMask's data, piece by piece, against the published ones."""

import json

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from pycocotools import mask as coco_mask

from polarseg.datasets import CocoInstanceDataset
from polarseg.datasets.transforms import LoadThingSemantic, ShortestEdgeResize
from polarseg.structures.coco_format import decode_segmentation

pytestmark = pytest.mark.golden('blendmask_units')


@pytest.fixture
def unit(case):
    """The parameters of one unit."""
    return lambda name: case['units'][name]['params']


@pytest.mark.parametrize(
    ('variant', 'size', 'step'), [('down', (64, 91), 1), ('up', (120, 1333), 4)]
)
def test_resized_picture(case, recipe, unit, variant, size, step):
    image = recipe.make_image(**unit('resize')['image'])
    assert (
        unit('resize')['variants'][variant] == f'shortest edge {size[0]}, longest at most {size[1]}'
    )
    resized = ShortestEdgeResize(*size)(dict(img=image))['img']
    np.testing.assert_array_equal(resized[::step, ::step], case['arrays'][f'resize_{variant}'])


def test_resized_picture_keeps_the_published_size(recipe, unit):
    image = recipe.make_image(**unit('resize')['image'])
    resized = ShortestEdgeResize(120, 1333)(dict(img=image))['img']
    assert list(resized.shape) == unit('resize')['up_shape']


def test_resized_label_map(case):
    labels = case['arrays']['resize_label_in']
    picture = np.zeros((*labels.shape, 3), np.uint8)
    results = ShortestEdgeResize(44)(dict(img=picture, gt_seg_map=labels))
    np.testing.assert_array_equal(results['gt_seg_map'], case['arrays']['resize_label_out'])
    # OpenCV samples elsewhere
    other = cv2.resize(labels, results['img_shape'][::-1], interpolation=cv2.INTER_NEAREST)
    assert (other != results['gt_seg_map']).any()


@pytest.fixture
def thing_file(unit, tmp_path):
    """The unit's annotations as a file of COCO's 80 classes, with what the unit leaves out."""
    params = unit('basis_semantic')
    height, width = params['image']
    names = CocoDataset.METAINFO['classes']
    ids = {index: int(number) for number, index in params['category_to_contiguous'].items()}
    categories = [dict(id=ids.get(i, 1000 + i), name=name) for i, name in enumerate(names)]
    annotations = []
    for number, annotation in enumerate(params['annotations'], start=1):
        mask = decode_segmentation(annotation['segmentation'], height, width)
        box = coco_mask.toBbox(coco_mask.encode(mask)).tolist()
        extra = dict(id=number, image_id=7, bbox=box, area=int(mask.sum()))
        annotations.append(annotation | extra)
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((height, width, 3), np.uint8))
    images = [dict(id=7, file_name='a.png', height=height, width=width)]
    return tmp_path, dict(images=images, categories=categories, annotations=annotations)


def loaded(folder, content):
    (folder / 'file.json').write_text(json.dumps(content))
    dataset = CocoInstanceDataset(
        data_root=str(folder),
        ann_file='file.json',
        data_prefix=dict(img=''),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadThingSemantic'),
            dict(type='LoadPolygonAnnotations', with_bbox=True),
            dict(type='PackDetInputs'),
        ],
    )
    return dataset[0]['data_samples']


def test_thing_semantic_map(case, thing_file):
    sample = loaded(*thing_file)
    labels = sample.gt_sem_seg.sem_seg.numpy()
    np.testing.assert_array_equal(labels, case['arrays']['basis_semantic_mask'][None])
    assert labels.dtype == np.uint8
    # as the loss reduces it: the pixel at the top left of each 8 x 8 block
    np.testing.assert_array_equal(labels[0, :56:8, ::8], case['arrays']['basis_semantic_down8'])
    # the crowd is painted, but no instance
    assert len(sample.gt_instances) == len(thing_file[1]['annotations']) - 1


@pytest.mark.parametrize(
    'change', [dict(area=0), dict(ignore=1), dict(bbox=[-9, -9, 4, 4]), dict(bbox=[3, 3, 0.5, 9])]
)
def test_what_is_no_instance_is_painted_in_its_turn(case, thing_file, change):
    folder, content = thing_file
    # the first and the third one, so that order matters
    for index in (0, 2):
        content['annotations'][index].update(change)
    sample = loaded(folder, content)
    labels = sample.gt_sem_seg.sem_seg[0].numpy()
    np.testing.assert_array_equal(labels, case['arrays']['basis_semantic_mask'])
    assert len(sample.gt_instances) == 2


def test_published_file_is_read_as_it_is(case, tmp_path):
    labels = case['arrays']['basis_semantic_mask']
    np.savez_compressed(tmp_path / '000000000009.npz', mask=labels)
    results = dict(img_path='data/coco/train2017/000000000009.jpg', ori_shape=labels.shape)
    found = LoadThingSemantic(map_dir=str(tmp_path))(results)['gt_seg_map']
    np.testing.assert_array_equal(found, labels)
