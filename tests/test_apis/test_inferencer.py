"""InstanceInferencer: any picture in, instances, drawings and COCO files out."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from polarseg.apis import (
    InstanceInferencer,
    LayoutError,
    Prediction,
    find_pictures,
    predictions_to_coco,
    prepare_config,
)
from polarseg.registry import MODELS
from polarseg.structures import BoxMaskInstances, PolygonInstances

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SHAPES = CONFIGS / 'shapes/polarmask_r18_shapes.py'
# an untrained model is sure of nothing, and its boxes lie over one another
OPTIONS = {
    'model.test_cfg.score_thr': 0.0,
    'model.test_cfg.max_per_img': 8,
    'model.test_cfg.nms_pre': 100,
}


def picture(height, width, seed=0):
    """Blobs of random colours."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope='module')
def inferencer():
    torch.manual_seed(0)
    return InstanceInferencer(SHAPES, None, device='cpu', cfg_options=OPTIONS)


@pytest.fixture
def folder(tmp_path):
    """Pictures of several kinds, and what is none."""
    folder = tmp_path / 'pictures'
    (folder / 'below.png').mkdir(parents=True)
    cv2.imwrite(str(folder / 'b.png'), picture(64, 96, 1))
    cv2.imwrite(str(folder / 'a.JPG'), picture(96, 64, 2))
    cv2.imwrite(str(folder / 'below.png/c.png'), picture(64, 64, 3))
    (folder / 'notes.txt').write_text('no picture')
    return folder


def assert_same(found, expected, tolerance=1e-4):
    assert len(found) == len(expected) > 0
    assert torch.equal(found.labels, expected.labels)
    for name in ('scores', 'bboxes'):
        torch.testing.assert_close(found[name], expected[name], rtol=tolerance, atol=tolerance)
    ours, theirs = found.masks, expected.masks
    torch.testing.assert_close(ours.vertices, theirs.vertices, rtol=tolerance, atol=tolerance)
    assert (ours.height, ours.width) == (theirs.height, theirs.width)


# -- finding and reading ---------------------------------------------------------------------


def test_find_pictures(folder):
    assert find_pictures(folder / 'b.png') == [folder / 'b.png']
    assert find_pictures(str(folder)) == [folder / 'a.JPG', folder / 'b.png']
    assert find_pictures(f'{folder}/*.png') == [folder / 'b.png']
    assert find_pictures(f'{folder}/**/*.png') == [folder / 'b.png', folder / 'below.png/c.png']
    # a file is taken at its word
    assert find_pictures(folder / 'notes.txt') == [folder / 'notes.txt']


def test_names_that_look_like_patterns(tmp_path):
    odd = tmp_path / 'a[1].png'
    cv2.imwrite(str(odd), picture(32, 32))
    assert find_pictures(odd) == [odd]
    assert find_pictures(tmp_path) == [odd]


@pytest.mark.parametrize('source', ['nothing', '*.gif', 'empty'])
def test_find_no_pictures(folder, source):
    (folder / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r'neither a picture.*\.png.*nor a pattern'):
        find_pictures(folder / source)


def test_file_and_array_are_the_same_picture(inferencer, folder):
    (by_file,) = inferencer([folder / 'b.png'])
    array = cv2.imread(str(folder / 'b.png'))
    (by_array,) = inferencer([array])
    np.testing.assert_array_equal(by_file.image, array)
    assert by_file.path == folder / 'b.png'
    assert by_array.path is None
    assert_same(by_file.instances, by_array.instances, 0)
    (by_text,) = inferencer([str(folder / 'b.png')])
    assert_same(by_file.instances, by_text.instances, 0)


def test_grey_alpha_and_16_bits_become_three_channels(inferencer, tmp_path):
    colours = picture(64, 96)
    grey = colours[..., 0]
    alpha = np.dstack([colours, np.full((64, 96), 7, np.uint8)])
    deep = colours.astype(np.uint16) * 257
    files = {}
    for name, pixels in (('grey', grey), ('alpha', alpha), ('deep', deep)):
        files[name] = tmp_path / f'{name}.png'
        cv2.imwrite(str(files[name]), pixels)
    found = dict(zip(files, inferencer(files.values())))
    np.testing.assert_array_equal(found['grey'].image, np.dstack([grey] * 3))
    np.testing.assert_array_equal(found['alpha'].image, colours)
    np.testing.assert_array_equal(found['deep'].image, colours)
    assert all(len(prediction.instances) == 8 for prediction in found.values())


def encoded(suffix, fraction=1.0):
    data = cv2.imencode(suffix, picture(64, 96))[1].tobytes()
    return data[: int(len(data) * fraction)]


@pytest.mark.parametrize(
    'content',
    [b'', b'no picture', encoded('.png', 0.05), encoded('.jpg', 0.02)],
    ids=['empty', 'text', 'cut_png', 'cut_jpg'],
)
def test_unreadable_picture_is_named(inferencer, tmp_path, content):
    broken = tmp_path / 'broken.png'
    broken.write_bytes(content)
    with pytest.raises(ValueError, match=r'broken\.png: not a picture that can be decoded'):
        list(inferencer([broken]))


def test_missing_picture_is_named(inferencer, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone\.png'):
        list(inferencer([tmp_path / 'gone.png']))


@pytest.mark.parametrize(
    'array',
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)],
    ids=['grey', 'alpha', 'float'],
)
def test_arrays_of_other_kinds_are_refused(inferencer, array):
    with pytest.raises(ValueError, match=r'must be \[H, W, 3\] uint8, got \[8, 8'):
        list(inferencer([array]))


@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_unreadable_pictures_may_be_left_out(inferencer, folder, batch_size):
    (folder / 'broken.png').write_bytes(encoded('.png', 0.5))
    pictures = [folder / name for name in ('broken.png', 'b.png', 'gone.png', 'a.JPG')]
    left_out = []
    found = list(inferencer(pictures, batch_size, lambda *skipped: left_out.append(skipped)))
    assert [prediction.path.name for prediction in found] == ['b.png', 'a.JPG']
    assert [(path.name, type(error)) for path, error in left_out] == [
        ('broken.png', ValueError),
        ('gone.png', FileNotFoundError),
    ]


def test_batch_size_must_be_positive(inferencer):
    with pytest.raises(ValueError, match='batch_size must be at least 1, got 0'):
        inferencer([], batch_size=0)


# -- prediction ------------------------------------------------------------------------------


@pytest.mark.parametrize('batch_size', [2, 3, 7])
def test_batch_gives_what_each_picture_gives_alone(inferencer, batch_size):
    sizes = [(64, 128), (128, 96), (96, 96), (112, 192), (192, 112), (32, 128), (96, 192)]
    pictures = [picture(height, width, seed) for seed, (height, width) in enumerate(sizes)]
    alone = [next(inferencer([one])) for one in pictures]
    together = list(inferencer(pictures, batch_size))
    assert len(together) == len(pictures)
    for one, single, batched in zip(pictures, alone, together):
        assert batched.image is one
        assert_same(batched.instances, single.instances)
        assert (batched.instances.masks.height, batched.instances.masks.width) == one.shape[:2]


def test_pictures_of_one_size_go_through_together(inferencer, monkeypatch):
    passes = []
    forward = inferencer.model.test_step

    def counted(data):
        passes.append(len(data['inputs']))
        return forward(data)

    monkeypatch.setattr(inferencer.model, 'test_step', counted)
    pictures = [picture(*size) for size in ((64, 128), (128, 64), (64, 128), (64, 128))]
    assert len(list(inferencer(pictures, 4))) == 4
    assert passes == [3, 1]


def test_results_are_in_pixels_of_the_picture(inferencer):
    # the pipeline brings both to 128 x 96
    small, large = picture(96, 128), cv2.resize(picture(96, 128), (512, 384))
    for image in (small, large):
        (prediction,) = inferencer([image])
        limit = torch.tensor(image.shape[1::-1]).float()
        vertices = prediction.instances.masks.vertices
        assert (vertices >= 0).all()
        assert (vertices <= limit).all()
        assert (vertices.amax(dim=(0, 1)) > limit / 2).all()
        boxes = prediction.instances.bboxes
        assert (boxes >= 0).all()
        assert (boxes <= limit.repeat(2) + 1e-3).all()
        scores = prediction.instances.scores
        assert torch.equal(scores, scores.sort(descending=True).values)


def test_threshold_and_no_detection(inferencer):
    (prediction,) = inferencer([picture(96, 128)])
    scores = prediction.instances.scores
    middle = float(scores[3])
    assert len(prediction.above(middle)) == int((scores > middle).sum()) < len(scores)
    assert len(prediction.above(10.0)) == 0


def test_model_that_finds_nothing():
    options = {**OPTIONS, 'model.test_cfg.score_thr': 1.0}
    inferencer = InstanceInferencer(SHAPES, None, device='cpu', cfg_options=options)
    image = picture(96, 128)
    (prediction,) = inferencer([image])
    assert len(prediction.instances) == 0
    plain = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(inferencer.draw(prediction), plain)
    content = predictions_to_coco([prediction], inferencer.classes)
    assert len(content['images']) == 1
    assert content['annotations'] == []
    assert len(content['categories']) == 3


@pytest.mark.gpu
def test_gpu_results_come_back_to_the_cpu(inferencer):
    other = InstanceInferencer(SHAPES, None, device='cuda:0', cfg_options=OPTIONS)
    other.model.load_state_dict(inferencer.model.state_dict())
    image = picture(96, 128)
    (ours,), (theirs,) = other([image]), inferencer([image])
    for value in (ours.instances.bboxes, ours.instances.masks.vertices):
        assert value.device.type == 'cpu'
    torch.testing.assert_close(ours.instances.scores, theirs.instances.scores, rtol=0, atol=1e-2)


# -- drawing and COCO files ------------------------------------------------------------------


def made_up(path=None, masks=True):
    """Two instances in a picture of 120 x 160."""
    corners = [[[20, 20], [59, 20], [59, 49], [20, 49]], [[90, 60], [139, 60], [139, 99], [90, 99]]]
    instances = InstanceData(
        bboxes=torch.tensor([[20.0, 20, 60, 50], [90, 60, 140, 100]]),
        scores=torch.tensor([0.9, 0.4]),
        labels=torch.tensor([2, 0]),
    )
    if masks:
        instances.masks = PolygonInstances(torch.tensor(corners).float(), 120, 160)
    return Prediction(path, np.full((120, 160, 3), 90, np.uint8), instances)


def test_drawing_is_enlarged_and_changes_the_masks_alone(inferencer):
    prediction = made_up()
    drawn = inferencer.draw(prediction, score_thr=0.5)
    assert drawn.shape == (360, 480, 3)
    assert drawn.dtype == np.uint8
    changed = (drawn != 90).any(axis=2)
    assert changed[60:150, 60:180].all()
    # label and outline reach a little beyond; the weaker instance is not drawn
    far = np.ones_like(changed)
    far[40:160, 50:200] = False
    assert not changed[far].any()
    assert (prediction.image == 90).all()
    assert (inferencer.draw(prediction, score_thr=0.3) != 90).any(axis=2)[180:300, 270:420].all()


def load_coco(content, tmp_path):
    file = tmp_path / 'predictions.json'
    file.write_text(json.dumps(content))
    return COCO(str(file))


CLASSES = ('ellipse', 'polygon', 'star')


@pytest.mark.parametrize('inclusive', [False, True])
def test_coco_file(tmp_path, inclusive):
    predictions = [made_up(Path('x/a.png')), made_up()]
    coco = load_coco(predictions_to_coco(predictions, CLASSES, 0.0, inclusive), tmp_path)
    assert [image['file_name'] for image in coco.loadImgs([1, 2])] == ['x/a.png', 'array 2']
    assert (coco.imgs[1]['height'], coco.imgs[1]['width']) == (120, 160)
    assert {key: value['name'] for key, value in coco.cats.items()} == {
        1: 'ellipse', 2: 'polygon', 3: 'star',
    }  # fmt: skip
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=1))
    edge = 1 if inclusive else 0
    assert first['bbox'] == [20, 20, 40 + edge, 30 + edge]
    assert second['bbox'] == [90, 60, 50 + edge, 40 + edge]
    assert (first['category_id'], second['category_id']) == (3, 1)
    assert (first['score'], second['score']) == (0.9, 0.4)
    assert (first['area'], second['area']) == (40 * 30, 50 * 40)
    for annotation, mask in zip((first, second), made_up().instances.masks.to_ndarray()):
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
    assert len(coco.getAnnIds(imgIds=2)) == 2
    assert len(coco.anns) == 4
    assert coco.getAnnIds(areaRng=[1500, 2500]) == [2, 4]


def test_masks_over_boxes(inferencer, tmp_path):
    """Chosen, drawn and written by the score of the box, whatever that of the mask."""
    prediction = made_up(masks=False)
    boxes = prediction.instances.bboxes
    prediction.instances.masks = BoxMaskInstances(torch.ones(2, 28, 28), boxes, 120, 160)
    prediction.instances.mask_scores = torch.tensor([0.1, 0.8])
    pixels = made_up()
    pixels.instances.masks = pixels.instances.masks.to_ndarray()
    drawn = [inferencer.draw(either, score_thr=0.5) for either in (prediction, pixels)]
    np.testing.assert_array_equal(*drawn)
    coco = load_coco(predictions_to_coco([prediction], CLASSES, 0.5), tmp_path)
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert (annotation['score'], annotation['area']) == (0.9, 40 * 30)
    assert annotation['mask_score'] == 0.1
    np.testing.assert_array_equal(coco.annToMask(annotation), pixels.instances.masks[0])


def test_coco_file_of_a_model(inferencer, tmp_path):
    predictions = list(inferencer([picture(96, 128), picture(128, 96, 1)]))
    coco = load_coco(predictions_to_coco(predictions, inferencer.classes), tmp_path)
    assert len(coco.anns) == 16
    for image_id, prediction in enumerate(predictions, start=1):
        found = coco.loadAnns(coco.getAnnIds(imgIds=image_id))
        masks = prediction.instances.masks.to_ndarray()
        assert [annotation['area'] for annotation in found] == masks.sum(axis=(1, 2)).tolist()
        boxes = np.array([annotation['bbox'] for annotation in found])
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(boxes, prediction.instances.bboxes, atol=0.011)


def test_coco_threshold(tmp_path):
    coco = load_coco(predictions_to_coco([made_up()], CLASSES, score_thr=0.4), tmp_path)
    assert [annotation['score'] for annotation in coco.anns.values()] == [0.9]


def test_coco_without_masks_has_the_area_of_boxes(tmp_path):
    coco = load_coco(predictions_to_coco([made_up(masks=False)], CLASSES), tmp_path)
    assert [annotation['area'] for annotation in coco.anns.values()] == [1200, 2000]
    assert all('segmentation' not in annotation for annotation in coco.anns.values())


def test_labels_without_a_name(tmp_path):
    coco = load_coco(predictions_to_coco([made_up()], ('ellipse',)), tmp_path)
    names = [category['name'] for category in coco.loadCats(coco.getCatIds())]
    assert names == ['ellipse', 'label 1', 'label 2']


# -- models, checkpoints, class names --------------------------------------------------------


def test_mmdet_model_without_masks(tmp_path):
    options = {
        'model.backbone': dict(depth=18, base_channels=8),
        'model.neck': dict(in_channels=[8, 16, 32, 64], out_channels=32),
        'model.bbox_head': dict(in_channels=32, feat_channels=32),
        'model.test_cfg': dict(score_thr=0.0, nms_pre=50, max_per_img=5),
        'test_dataloader.dataset.pipeline.1.scale': (256, 192),
    }
    config = CONFIGS / 'baselines/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
    inferencer = InstanceInferencer(config, None, device='cpu', cfg_options=options)
    assert len(inferencer.classes) == 80
    assert inferencer.classes[9] == 'traffic light'
    (prediction,) = inferencer([picture(96, 128)])
    assert 'masks' not in prediction.instances
    assert len(prediction.instances) == 5
    assert inferencer.draw(prediction, 0.0).shape == (384, 512, 3)
    coco = load_coco(predictions_to_coco([prediction], inferencer.classes), tmp_path)
    assert len(coco.anns) == 5
    assert len(coco.cats) == 80


@pytest.fixture
def save(tmp_path):
    """Write a checkpoint of the shapes model with the given meta."""

    def save(**content):
        torch.manual_seed(0)
        state_dict = MODELS.build(prepare_config(SHAPES).model).state_dict()
        folder = tmp_path / 'run'
        folder.mkdir(exist_ok=True)
        torch.save(dict(state_dict=state_dict, **content), folder / 'epoch_3.pth')
        return folder / 'epoch_3.pth'

    return save


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (dict(meta=dict(dataset_meta=dict(classes=('a', 'b', 'c')))), ('a', 'b', 'c')),
        (dict(meta=dict(CLASSES=['d', 'e', 'f'])), ('d', 'e', 'f')),
        (dict(meta=dict(epoch=3)), ('ellipse', 'polygon', 'star')),
        (dict(meta=None), ('ellipse', 'polygon', 'star')),
        (dict(), ('ellipse', 'polygon', 'star')),
    ],
    ids=['dataset_meta', 'CLASSES', 'no_names', 'meta_none', 'no_meta'],
)
def test_class_names_of_a_checkpoint(save, content, expected):
    assert InstanceInferencer(SHAPES, save(**content), device='cpu').classes == expected


def test_class_names_without_any_are_cocos():
    cfg = prepare_config(SHAPES)
    del cfg.test_dataloader.dataset['metainfo']
    classes = InstanceInferencer(cfg, None, device='cpu').classes
    assert len(classes) == 80
    assert classes[0] == 'person'


def test_latest_checkpoint_of_a_folder(save, inferencer):
    file = save(meta={})
    found = InstanceInferencer(SHAPES, file.parent / 'latest.pth', device='cpu')
    expected = torch.load(file, weights_only=True)['state_dict']
    own = found.model.state_dict()
    assert all(torch.equal(own[name], expected[name]) for name in expected)
    assert not found.model.training


def test_checkpoint_of_another_model_is_refused(save):
    file = save()
    options = {'model.bbox_head.num_classes': 5}
    with pytest.raises(LayoutError, match=r'shape of bbox_head\.polar_cls\.bias: \[3\].*\[5\]'):
        InstanceInferencer(SHAPES, file, device='cpu', cfg_options=options)


def test_missing_config_and_checkpoint_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.py'):
        InstanceInferencer(tmp_path / 'none.py', None)
    with pytest.raises(FileNotFoundError, match=r'none\.pth'):
        InstanceInferencer(SHAPES, tmp_path / 'none.pth', device='cpu')


def test_options_with_a_config_object_are_refused():
    with pytest.raises(ValueError, match='change the config object itself'):
        InstanceInferencer(prepare_config(SHAPES), None, cfg_options=OPTIONS)


def test_box_convention_comes_from_the_config(inferencer):
    assert inferencer.inclusive_boxes is False
    cfg = prepare_config(SHAPES)
    cfg.inclusive_boxes = True
    assert InstanceInferencer(cfg, None, device='cpu').inclusive_boxes is True


def test_rle_of_the_file_is_text(inferencer):
    content = predictions_to_coco([made_up()], CLASSES)
    segmentation = content['annotations'][0]['segmentation']
    assert isinstance(segmentation['counts'], str)
    assert coco_mask.area(segmentation) == 1200
