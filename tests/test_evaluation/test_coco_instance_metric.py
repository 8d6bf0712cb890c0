"""CocoInstanceMetric: every form of mask, both box conventions, class order, many detections."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from polarseg.evaluation import CocoInstanceMetric
from polarseg.registry import METRICS
from polarseg.structures import BoxMaskInstances, PolygonInstances, fill_polygon

HEIGHT, WIDTH = 200, 300
CLASSES = ('cat', 'dog', 'owl')
# class index, picture, corners
OBJECTS = [
    (0, 0, [[10, 10], [60, 12], [58, 70], [8, 66]]),
    (1, 0, [[100, 20], [150, 20], [150, 90], [100, 90]]),
    (2, 1, [[30, 100], [90, 90], [110, 150], [40, 170]]),
    (0, 1, [[200, 30], [260, 30], [260, 60], [200, 60]]),
    (1, 1, [[150, 120], [180, 110], [190, 180], [140, 170]]),
]


def rle_of(mask):
    rle = coco_mask.encode(np.asfortranarray(mask))
    return dict(size=rle['size'], counts=rle['counts'].decode())


def write(path, objects, pictures=2, classes=CLASSES):
    """A COCO file whose masks are the filled polygons and whose boxes hold their pixels."""
    annotations = []
    for number, (label, picture, corners) in enumerate(objects):
        mask = fill_polygon(np.array(corners), HEIGHT, WIDTH)
        x, y, width, height = cv2.boundingRect(mask)
        annotations.append(
            dict(
                id=number + 1,
                image_id=picture,
                category_id=10 * (label + 1),
                bbox=[x, y, width, height],
                area=int(mask.sum()),
                iscrowd=0,
                segmentation=rle_of(mask),
            )
        )
    sizes = dict(height=HEIGHT, width=WIDTH)
    content = dict(
        images=[dict(id=i, file_name=f'{i}.png', **sizes) for i in range(pictures)],
        annotations=annotations,
        categories=[dict(id=10 * (i + 1), name=name) for i, name in enumerate(classes)],
    )
    path.write_text(json.dumps(content))
    return str(path)


def masks_as(kind, corners):
    polygons = PolygonInstances(torch.tensor(corners, dtype=torch.float32), HEIGHT, WIDTH)
    if kind == 'polygons':
        return polygons
    if kind == 'rle':
        return polygons.to_rle()
    return torch.from_numpy(polygons.to_ndarray()).bool()


def samples_of(objects, kind='polygons', inclusive=False, shift=0.0, order=CLASSES, pictures=2):
    """Predictions that are the objects themselves, moved by ``shift`` pixels."""
    samples = []
    for picture in range(pictures):
        own = [entry for entry in objects if entry[1] == picture]
        corners = np.array([entry[2] for entry in own], np.float32).reshape(-1, 4, 2) + shift
        last = corners.max(axis=1) + (0 if inclusive else 1)
        boxes = np.concatenate([corners.min(axis=1), last], 1)
        instances = InstanceData(
            bboxes=torch.from_numpy(boxes),
            scores=torch.linspace(0.9, 0.5, len(own)),
            labels=torch.tensor([order.index(CLASSES[e[0]]) for e in own], dtype=torch.long),
            masks=masks_as(kind, corners),
        )
        samples.append(dict(pred_instances=instances, img_id=picture, ori_shape=(HEIGHT, WIDTH)))
    return samples


def evaluate(file, samples, classes=CLASSES, metric=('bbox', 'segm'), meta=None, **options):
    evaluator = METRICS.build(
        dict(type='CocoInstanceMetric', ann_file=file, metric=list(metric), **options)
    )
    evaluator.dataset_meta = dict(classes=classes) if meta is None else meta
    for sample in samples:
        evaluator.process({}, [sample])
    return evaluator.evaluate(size=len(samples))


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / 'file.json', OBJECTS)


@pytest.mark.parametrize('kind', ['polygons', 'rle', 'tensor'])
def test_every_form_of_mask_gives_the_same(file, kind):
    expected = evaluate(file, samples_of(OBJECTS, 'rle', shift=3))
    assert 0.3 < expected['coco/segm_mAP'] < 1
    assert 0.3 < expected['coco/bbox_mAP'] < 1
    assert evaluate(file, samples_of(OBJECTS, kind, shift=3)) == expected


@pytest.mark.parametrize('inclusive', [False, True])
def test_perfect_predictions(file, inclusive):
    samples = samples_of(OBJECTS, inclusive=inclusive)
    scores = evaluate(file, samples, inclusive_boxes=inclusive)
    for kind in ('bbox', 'segm'):
        for name in ('mAP', 'mAP_50', 'mAP_75', 'mAP_m'):
            assert scores[f'coco/{kind}_{name}'] == 1.0


def test_meta_information_of_mmdets_panoptic_data(file):
    """Its classes hold the stuff, which no file of instances has."""
    things = CLASSES[::-1]
    meta = dict(classes=(*things, 'sky'), thing_classes=things, stuff_classes=('sky',))
    scores = evaluate(file, samples_of(OBJECTS, order=things), meta=meta)
    assert scores['coco/segm_mAP'] == 1.0


def test_box_conventions_differ(tmp_path):
    tiny = [(0, 0, [[10, 10], [13, 10], [13, 13], [10, 13]])]
    file = write(tmp_path / 'tiny.json', tiny)
    samples = samples_of(tiny, inclusive=True)
    assert evaluate(file, samples, inclusive_boxes=True)['coco/bbox_mAP'] == 1.0
    # 9 of 16 pixels without the last ones
    assert evaluate(file, samples)['coco/bbox_mAP'] == pytest.approx(0.2)


def test_box_conventions_without_a_file():
    """Ground truth from the samples is in the data set's convention as well."""
    tiny = [(0, 0, [[10, 10], [13, 10], [13, 13], [10, 13]])]
    samples = samples_of(tiny, inclusive=True, pictures=1)
    instance = dict(bbox=[10, 10, 13, 13], bbox_label=0, ignore_flag=0)
    samples[0]['instances'] = [instance]
    for inclusive in (True, False):
        scores = evaluate(None, samples, metric=['bbox'], inclusive_boxes=inclusive)
        assert scores['coco/bbox_mAP'] == 1.0
    assert instance['bbox'] == [10, 10, 13, 13]


@pytest.mark.parametrize('order', [('owl', 'cat', 'dog'), ('dog', 'owl', 'cat')])
def test_labels_follow_the_order_of_the_classes(file, order):
    scores = evaluate(file, samples_of(OBJECTS, order=order), classes=order, classwise=True)
    assert scores['coco/segm_mAP'] == scores['coco/bbox_mAP'] == 1.0
    wrong = evaluate(file, samples_of(OBJECTS), classes=order)
    assert wrong['coco/segm_mAP'] == 0.0


def test_some_of_the_classes(file):
    cats = [entry for entry in OBJECTS if entry[0] == 0]
    scores = evaluate(file, samples_of(cats, order=('cat',)), classes=('cat',))
    assert scores['coco/segm_mAP'] == 1.0


def test_a_class_that_the_file_lacks(file):
    with pytest.raises(ValueError, match=r"wolf.*'cat'"):
        evaluate(file, samples_of(OBJECTS), classes=('cat', 'dog', 'wolf'))


@pytest.fixture
def crowded(tmp_path):
    """One picture of 150 small objects of one class."""
    objects = []
    for number in range(150):
        x, y = 4 + 19 * (number % 15), 4 + 19 * (number // 15)
        objects.append((0, 0, [[x, y], [x + 12, y], [x + 12, y + 12], [x, y + 12]]))
    return objects, write(tmp_path / 'crowded.json', objects, pictures=1)


def test_more_than_100_detections_count(crowded):
    objects, file = crowded
    samples = samples_of(objects, pictures=1)
    scores = {limit: evaluate(file, samples, max_dets=limit) for limit in (100, 120, 300)}
    for kind in ('bbox', 'segm'):
        name = f'coco/{kind}_mAP'
        assert scores[300][name] == 1.0
        # 101 recall steps: those up to the share of objects that may be found
        assert scores[100][name] == pytest.approx(100 / 150, abs=0.01)
        assert scores[120][name] == pytest.approx(120 / 150, abs=0.01)
        assert scores[300][f'{name}_50'] == 1.0
        assert scores[100][f'{name}_50'] == pytest.approx(100 / 150, abs=0.01)


def test_max_dets_of_all_classes_and_thresholds(crowded, file):
    """The second evaluation is COCO's own where it does not matter how many count."""
    samples = samples_of(OBJECTS, shift=2.0)
    usual, more = (evaluate(file, samples, max_dets=limit) for limit in (100, 300))
    assert more['coco/segm_mAP'] == usual['coco/segm_mAP']
    assert more['coco/bbox_mAP'] == usual['coco/bbox_mAP']
    assert 0 < usual['coco/segm_mAP'] < 1


def test_max_dets_with_metric_items_and_format_only(crowded, tmp_path):
    objects, file = crowded
    samples = samples_of(objects, pictures=1)
    scores = evaluate(file, samples, max_dets=300, metric_items=['mAP_50'])
    assert set(scores) == {'coco/bbox_mAP_50', 'coco/segm_mAP_50'}
    written = evaluate(
        file, samples, max_dets=300, format_only=True, outfile_prefix=str(tmp_path / 'out')
    )
    assert written == {}
    found = json.loads((tmp_path / 'out.segm.json').read_text())
    assert len(found) == 150
    assert {entry['category_id'] for entry in found} == {10}


def test_result_boxes_in_both_conventions(file, tmp_path):
    for inclusive, size in ((False, [50.0, 58.0]), (True, [51.0, 59.0])):
        prefix = str(tmp_path / f'out {inclusive}')
        samples = samples_of(OBJECTS[:1], inclusive=False)
        samples[0]['pred_instances'].bboxes[:] = torch.tensor([10.0, 11, 60, 69])
        evaluate(file, samples, inclusive_boxes=inclusive, format_only=True, outfile_prefix=prefix)
        entry = json.loads(Path(f'{prefix}.bbox.json').read_text())[0]
        assert entry['bbox'] == [10.0, 11.0, *size]


def scored_apart(scores, mask_scores):
    """Two predictions for the cat of picture 0: itself, and far away."""
    samples = samples_of(OBJECTS[:1] * 2)
    found = samples[0]['pred_instances']
    found.scores, found.mask_scores = torch.tensor(scores), torch.tensor(mask_scores)
    found.bboxes[1] += 100
    found.masks.vertices[1] += 100
    return samples


def test_boxes_and_masks_with_scores_of_their_own(tmp_path):
    """The better of two predictions is right for boxes, or for masks; the other comes first."""
    file = write(tmp_path / 'one.json', OBJECTS[:1])
    for scores, box_ap, mask_ap in (
        (([0.9, 0.5], [0.2, 0.8]), 1.0, 0.5),
        (([0.5, 0.9], [0.8, 0.2]), 0.5, 1.0),
    ):
        found = evaluate(file, scored_apart(*scores))
        assert found['coco/bbox_mAP'] == pytest.approx(box_ap, abs=0.01)
        assert found['coco/segm_mAP'] == pytest.approx(mask_ap, abs=0.01)
        more = evaluate(file, scored_apart(*scores), max_dets=300)
        assert more['coco/segm_mAP'] == found['coco/segm_mAP']


@pytest.mark.parametrize('format_only', [False, True])
def test_files_of_boxes_and_masks(tmp_path, format_only):
    file = write(tmp_path / 'one.json', OBJECTS[:1])
    prefix = str(tmp_path / 'out')
    samples = scored_apart([0.9, 0.5], [0.2, 0.8])
    evaluate(file, samples, format_only=format_only, outfile_prefix=prefix)
    boxes = json.loads(Path(f'{prefix}.bbox.json').read_text())
    masks = json.loads(Path(f'{prefix}.segm.json').read_text())
    assert [entry['score'] for entry in boxes] == pytest.approx([0.9, 0.5])
    assert [entry['score'] for entry in masks] == pytest.approx([0.2, 0.8])
    assert all(set(entry) == {'image_id', 'category_id', 'bbox', 'score'} for entry in boxes)
    keys = {'image_id', 'category_id', 'segmentation', 'score'}
    assert all(set(entry) == keys for entry in masks)


def test_sizes_of_masks_are_their_areas(tmp_path):
    """A diagonal stroke: its box is of medium size, its mask small."""
    stroke = [(0, 0, [[10, 10], [13, 10], [73, 70], [70, 70]])]
    file = write(tmp_path / 'stroke.json', stroke)
    wrong = [(0, 1, stroke[0][2])]
    scores = evaluate(file, samples_of(stroke + wrong))
    # the wrong one is as good as the right one and counts for objects of its size
    assert scores['coco/segm_mAP_s'] == pytest.approx(scores['coco/segm_mAP'])
    assert scores['coco/segm_mAP_m'] == -1
    prefix = str(tmp_path / 'out')
    evaluate(file, samples_of(stroke), format_only=True, outfile_prefix=prefix)
    from pycocotools.coco import COCO

    loaded = COCO(file).loadRes(f'{prefix}.segm.json').loadAnns([1])[0]
    assert loaded['area'] == coco_mask.area(loaded['segmentation']) < 32**2


def test_masks_over_boxes(tmp_path):
    square = [(0, 0, [[10, 10], [49, 10], [49, 49], [10, 49]])]
    file = write(tmp_path / 'square.json', square)
    samples = samples_of(square)
    found = samples[0]['pred_instances']
    found.masks = BoxMaskInstances(torch.ones(1, 28, 28), found.bboxes, HEIGHT, WIDTH)
    samples[1]['pred_instances'].masks = BoxMaskInstances(
        torch.zeros(0, 28, 28), torch.zeros(0, 4), HEIGHT, WIDTH
    )
    scores = evaluate(file, samples)
    assert scores['coco/segm_mAP'] == scores['coco/bbox_mAP'] == 1.0


@pytest.mark.parametrize('max_dets', [99, 0, -1])
def test_max_dets_below_100(file, max_dets):
    with pytest.raises(ValueError, match=f'at least 100, got {max_dets}'):
        CocoInstanceMetric(file, max_dets=max_dets)


@pytest.mark.parametrize('max_dets', [100, 300])
@pytest.mark.parametrize('kind', ['polygons', 'rle', 'tensor'])
def test_no_predictions_at_all(file, kind, max_dets):
    scores = evaluate(file, samples_of([], kind), max_dets=max_dets)
    assert scores['coco/segm_mAP'] == scores['coco/bbox_mAP'] == 0.0
    assert not any(scores.values())


def test_one_picture_without_predictions(file):
    found = [entry for entry in OBJECTS if entry[1] == 0]
    scores = evaluate(file, samples_of(found), max_dets=300)
    assert 0 < scores['coco/segm_mAP'] < 1


def test_masks_do_not_outlive_their_batch_as_pixels(file):
    metric = CocoInstanceMetric(file, metric=['segm'])
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples_of(OBJECTS))
    for _, prediction in metric.results:
        assert all(set(mask) == {'size', 'counts'} for mask in prediction['masks'])


def test_the_sample_keeps_its_polygons(file):
    """A drawing hook after the evaluator gets the same sample."""
    from mmdet.structures import DetDataSample

    sample = DetDataSample(metainfo=dict(img_id=0, ori_shape=(HEIGHT, WIDTH)))
    sample.pred_instances = samples_of(OBJECTS)[0]['pred_instances']
    metric = CocoInstanceMetric(file, metric=['segm'])
    metric.process({}, [sample.to_dict()])
    assert isinstance(sample.pred_instances.masks, PolygonInstances)
