"""CocoPanopticQualityMetric in mmengine's evaluator: equal to files, with AP, in two processes."""

import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from panoptic_pictures import IDS, META, SHAPE, make, write_predictions
from torch import distributed, multiprocessing

from polarseg.evaluation import CocoPanopticQualityMetric, folder_quality
from polarseg.structures import PanopticMap, Segment
from polarseg.structures.panoptic_files import PanopticFiles

NAMES = [f'coco_panoptic/{name}{end}' for end in ('', '_th', '_st') for name in ('PQ', 'SQ', 'RQ')]


def sample_of(number, panoptic, semantic=None):
    sample = DetDataSample(metainfo=dict(img_id=number, img_path=f'photos/{number:06}.jpg'))
    sample.pred_panoptic_seg = panoptic.to_pixel_data()
    if semantic is not None:
        sample.pred_sem_seg = PixelData(sem_seg=torch.from_numpy(semantic)[None])
    return sample


def samples_of(predictions):
    return [sample_of(number, panoptic) for number, panoptic in predictions.items()]


def evaluate(samples, file, meta=META, **options):
    options = dict(type='CocoPanopticQualityMetric', ann_file=str(file), **options)
    evaluator = Evaluator([options])
    evaluator.dataset_meta = meta
    for start in range(0, len(samples), 2):
        evaluator.process(samples[start : start + 2])
    return evaluator.evaluate(len(samples))


def percent(quality):
    values = [quality.mean(isthing)[:3] for isthing in (None, True, False)]
    return [100 * value for row in values for value in row]


@pytest.fixture
def data(tmp_path):
    return make(tmp_path)


def test_equal_to_files(data, tmp_path):
    file, predictions = data
    written = write_predictions(tmp_path / 'found.json', predictions)
    expected = percent(folder_quality(PanopticFiles(written), PanopticFiles(file)))
    scores = evaluate(samples_of(predictions), file)
    assert list(scores) == NAMES
    assert list(scores.values()) == pytest.approx(expected)
    assert 20 < min(expected) < max(expected) < 100
    folder = tmp_path / 'elsewhere'
    (tmp_path / 'truth').rename(folder)
    assert evaluate(samples_of(predictions), file, seg_prefix=str(folder)) == scores


def test_samples_may_hold_the_map_itself(data):
    file, predictions = data
    plain = [dict(img_id=n, pred_panoptic_seg=panoptic) for n, panoptic in predictions.items()]
    assert evaluate(plain, file) == evaluate(samples_of(predictions), file)


def test_mmdets_panoptic_models(data):
    """Class + 1000 x instance, and names of things and stuff together in the meta information."""
    file, predictions = data
    things, stuff = META['classes'], META['stuff_classes']
    meta = dict(classes=things + stuff, thing_classes=things, stuff_classes=stuff)
    samples, merged = [], {}
    for number, panoptic in predictions.items():
        joined = np.full(SHAPE, len(things) + len(stuff), np.int32)
        for instance, segment in enumerate(panoptic.segments, start=1):
            own = segment.category_id + 1000 * instance * segment.isthing
            joined[panoptic.ids == segment.id] = own
        sample = DetDataSample(metainfo=dict(img_id=number))
        sample.pred_panoptic_seg = PixelData(sem_seg=torch.from_numpy(joined)[None])
        samples.append(sample)
        merged[number] = one_segment_of_each_stuff(panoptic)
    expected = evaluate(samples_of(merged), file)
    assert evaluate(samples, file, meta) == evaluate(samples, file) == expected
    assert 20 < expected['coco_panoptic/PQ'] < 100


def one_segment_of_each_stuff(panoptic):
    """Mmdet's form has no instances of stuff."""
    first, ids, segments = {}, panoptic.ids.copy(), []
    for segment in panoptic.segments:
        if segment.isthing or segment.category_id not in first:
            first.setdefault(segment.category_id, segment.id)
            segments.append(segment)
        else:
            ids[ids == segment.id] = first[segment.category_id]
    return PanopticMap(ids, segments)


def test_written_results_give_the_same(data, tmp_path):
    file, predictions = data
    prefix = str(tmp_path / 'run/results')
    scores = evaluate(samples_of(predictions), file, outfile_prefix=prefix)
    found = PanopticFiles(f'{prefix}.panoptic.json')
    again = folder_quality(found, PanopticFiles(file))
    assert percent(again) == pytest.approx(list(scores.values()))
    for number, panoptic in predictions.items():
        read = found.read(number)
        assert (read.ids == panoptic.ids).all()
        assert [s.score for s in read.segments] == [s.score for s in panoptic.segments]
    images = json.loads((tmp_path / 'run/results.panoptic.json').read_text())['images']
    assert images[0] == dict(id=100, file_name='000100.jpg', height=SHAPE[0], width=SHAPE[1])


def test_format_only_needs_no_truth_of_the_pictures(data, tmp_path):
    file, predictions = data
    prefix = str(tmp_path / 'results')
    content = json.loads(file.read_text())
    content['annotations'] = []
    other = tmp_path / 'categories.json'
    other.write_text(json.dumps(content))
    options = dict(format_only=True, outfile_prefix=prefix)
    assert evaluate(samples_of(predictions), other, **options) == {}
    found = PanopticFiles(f'{prefix}.panoptic.json')
    assert found.annotation(100)['file_name'] == '000100.png'
    scores = evaluate(samples_of(predictions), file)
    again = percent(folder_quality(found, PanopticFiles(file)))
    assert again == pytest.approx(list(scores.values()))
    with pytest.raises(ValueError, match='format_only needs an outfile_prefix'):
        CocoPanopticQualityMetric(str(file), format_only=True)


@pytest.mark.parametrize('in_one_process', [True, False])
def test_pictures_without_truth_that_share_a_name(data, tmp_path, in_one_process):
    file, predictions = data
    content = json.loads(file.read_text())
    content['annotations'] = []
    file.write_text(json.dumps(content))
    samples = samples_of(predictions)[:2]
    for folder, sample in zip('ab', samples):
        sample.set_metainfo(dict(img_path=f'{folder}/one.jpg'))
    options = dict(format_only=True, outfile_prefix=str(tmp_path / 'results'))
    first, second = (sample.img_id for sample in samples)
    message = f'of the same name, one.png: images {first} and {second}'
    if in_one_process:
        with pytest.raises(ValueError, match=message):
            evaluate(samples, file, **options)
        return
    results = []
    for sample in samples:
        metric = CocoPanopticQualityMetric(str(file), **options)
        metric.dataset_meta = META
        metric.process({}, [sample.to_dict()])
        results += metric.results
    with pytest.raises(ValueError, match=message):
        metric.compute_metrics(results)


def test_mean_iou_of_the_semantic_branch(data):
    file, predictions = data
    truth = PanopticFiles(file)
    samples, hits, unions = [], np.zeros(3), np.zeros(3)
    random = np.random.default_rng(2)
    for number, panoptic in predictions.items():
        # things are 0, sky 1, sea 2; the file's ids are 1 18, 92, 200
        expected = truth.read(number).semantic({1: 0, 18: 0, 92: 1, 200: 2})
        semantic = np.where(random.random(SHAPE) < 0.7, expected % 255, 1).astype(np.int64)
        samples.append(sample_of(number, panoptic, semantic))
        for label in range(3):
            mine, true = (semantic == label) & (expected != 255), expected == label
            hits[label] += (mine & true).sum()
            unions[label] += (mine | true).sum()
    scores = evaluate(samples, file, classwise=True)
    assert list(scores) == [*NAMES, 'coco_panoptic/mIoU']
    assert scores['coco_panoptic/mIoU'] == pytest.approx(100 * (hits / unions).mean())


def test_real_pictures_against_themselves(shared_data):
    folder = shared_data / 'coco_panoptic'
    file = folder / 'annotations/panoptic.json'
    truth = PanopticFiles(file, folder / 'panoptic')
    things = [c for c in truth.categories if c.isthing]
    stuff = [c for c in truth.categories if not c.isthing]
    meta = dict(classes=[c.name for c in things], stuff_classes=[c.name for c in stuff])
    contiguous = {c.id: place for place, c in enumerate(things + stuff)}
    semantic = {c.id: place + 1 for place, c in enumerate(stuff)} | {c.id: 0 for c in things}
    samples = []
    for number in truth.annotations:
        panoptic = truth.read(number)
        labels = panoptic.semantic(semantic, void=0).astype(np.int64)
        samples.append(sample_of(number, panoptic.with_categories(contiguous), labels))
    scores = evaluate(samples, file, meta, seg_prefix=str(folder / 'panoptic'))
    assert list(scores.values()) == [100.0] * 10


def test_nothing_predicted(data):
    file, predictions = data
    empty = PanopticMap(np.zeros(SHAPE, int), [])
    scores = evaluate([sample_of(number, empty) for number in predictions], file)
    assert list(scores.values()) == [0.0] * 9


def test_beside_average_precision(data, tmp_path):
    """One evaluator has the whole table."""
    file, predictions = data
    instances = dict(
        images=[dict(id=100, height=SHAPE[0], width=SHAPE[1], file_name='000100.jpg')],
        categories=[dict(id=1, name='cat'), dict(id=18, name='dog')],
        annotations=[
            dict(id=1, image_id=100, category_id=18, bbox=[2, 2, 10, 10], area=100, iscrowd=0)
            | dict(segmentation=[[2, 2, 12, 2, 12, 12, 2, 12]])
        ],
    )
    (tmp_path / 'instances.json').write_text(json.dumps(instances))
    evaluator = Evaluator(
        [
            dict(type='CocoPanopticQualityMetric', ann_file=str(file)),
            dict(
                type='CocoInstanceMetric',
                ann_file=str(tmp_path / 'instances.json'),
                metric=['bbox', 'segm'],
            ),
        ]
    )
    evaluator.dataset_meta = META
    sample = sample_of(100, predictions[100], np.zeros(SHAPE, np.int64))
    sample.set_metainfo(dict(ori_shape=SHAPE))
    masks = torch.zeros(1, *SHAPE, dtype=torch.bool)
    masks[0, 2:12, 2:12] = True
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[2.0, 2, 12, 12]]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([1]),
        masks=masks,
    )
    evaluator.process([sample])
    scores = evaluator.evaluate(1)
    assert {*NAMES, 'coco_panoptic/mIoU'} <= set(scores)
    assert scores['coco/bbox_mAP'] == scores['coco/segm_mAP'] == 1.0


def one_segment(category=0, shape=SHAPE):
    return PanopticMap(np.ones(shape, int), [Segment(1, category, category < 2)])


@pytest.mark.parametrize(
    ('sample', 'said'),
    [
        (sample_of(7, one_segment()), r'image 7: .*truth\.json: no annotation of image 7'),
        (sample_of(100, one_segment(4)), 'image 100: segment 1 has category 4, which is none of 0'),
        (sample_of(100, one_segment(shape=(3, 3))), r'image 100: maps must be .*got \[24, 32\]'),
        (sample_of(100, one_segment(), np.full(SHAPE, 3)), 'image 100: predicted labels .* 3'),
        (sample_of(100, one_segment(), np.zeros((3, 3))), 'image 100: maps must be of one size'),
    ],
)
def test_samples_that_do_not_fit(data, sample, said):
    with pytest.raises(ValueError, match=said):
        evaluate([sample], data[0])


@pytest.mark.parametrize(
    ('meta', 'said'),
    [
        (dict(classes=('cat', 'dog')), 'has no stuff_classes'),
        (META | dict(classes=('cat', 'sky')), r"truth\.json: no thing or stuff .*\['sky'\]"),
        (META | dict(classes=('cat',)), r"4 categories, the data set 3 classes.*\['dog'\]"),
        (META | dict(classes=('cat', 'dog', 'cat')), '4 categories, the data set 5 classes'),
    ],
)
def test_classes_that_do_not_fit(data, meta, said):
    file, predictions = data
    with pytest.raises(ValueError, match=said):
        evaluate(samples_of(predictions), file, meta)


def test_classes_are_compared_before_anything_is_trained(data):
    """A runner sets the meta information when it builds the loop."""
    metric = CocoPanopticQualityMetric(str(data[0]))
    with pytest.raises(ValueError, match=r"without a class: \['sea'\].*or take them out"):
        metric.dataset_meta = META | dict(stuff_classes=('sky',))
    metric.dataset_meta = META
    assert metric.dataset_meta == META


def rename(file, names):
    """Give the PNGs of a file other names, without moving them."""
    content = json.loads(file.read_text())
    for entry in content['annotations']:
        entry['file_name'] = str(names(entry['file_name']))
    file.write_text(json.dumps(content))


@pytest.mark.parametrize('format_only', [False, True])
def test_the_truth_is_never_written_over(data, tmp_path, format_only):
    """Whatever its file calls the PNGs."""
    file, predictions = data
    folder = tmp_path / 'truth'
    before = {path: path.read_bytes() for path in folder.iterdir()}
    prefix = tmp_path / 'run/results'
    options = dict(outfile_prefix=str(prefix), format_only=format_only)
    for names in (lambda name: folder / name, lambda name: f'../truth/{name}'):
        rename(file, lambda name, names=names: names(name.split('/')[-1]))
        evaluate(samples_of(predictions), file, **options)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
        found = PanopticFiles(f'{prefix}.panoptic.json')
        for number in predictions:
            assert found.png(number).parent == tmp_path / 'run/results.panoptic'
            assert found.read(number).ids.shape == SHAPE


def test_pngs_in_folders(data, tmp_path):
    file, predictions = data
    (tmp_path / 'truth').rename(tmp_path / 'moved')
    (tmp_path / 'truth').mkdir()
    (tmp_path / 'moved').rename(tmp_path / 'truth/below')
    rename(file, lambda name: f'below/{name}')
    prefix = str(tmp_path / 'results')
    scores = evaluate(samples_of(predictions), file, outfile_prefix=prefix)
    again = folder_quality(PanopticFiles(f'{prefix}.panoptic.json'), PanopticFiles(file))
    assert percent(again) == pytest.approx(list(scores.values()))


def test_two_pngs_of_one_name(data, tmp_path):
    file, _ = data
    rename(file, lambda name: f'{name[:-4]}/a.png')
    CocoPanopticQualityMetric(str(file))
    with pytest.raises(ValueError, match=r'two pictures have PNGs of the same name, a\.png'):
        CocoPanopticQualityMetric(str(file), outfile_prefix=str(tmp_path / 'results'))


def test_pictures_whose_truth_is_secret(data, tmp_path):
    file, predictions = data
    content = json.loads(file.read_text())
    del content['annotations']
    file.write_text(json.dumps(content))
    prefix = str(tmp_path / 'results')
    assert evaluate(samples_of(predictions), file, format_only=True, outfile_prefix=prefix) == {}
    assert PanopticFiles(f'{prefix}.panoptic.json').annotations.keys() == predictions.keys()
    with pytest.raises(ValueError, match="no list named 'annotations'"):
        evaluate(samples_of(predictions), file)


def test_little_is_kept_of_a_picture(data):
    file, predictions = data
    metric = CocoPanopticQualityMetric(str(file))
    metric.dataset_meta = META
    semantic = np.zeros(SHAPE, np.int64)
    samples = [sample_of(n, panoptic, semantic).to_dict() for n, panoptic in predictions.items()]
    metric.process({}, samples)
    for entry in metric.results:
        assert set(entry) == {'segments', 'semantic'}
        assert set(entry['segments']) <= set(IDS)
        assert len(entry['semantic'][0]) <= 9


def _rank(rank, folder, prefix):
    """Every second picture, and one twice to make the numbers equal, as samplers do."""
    init_default_scope('polarseg')
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/join', rank=rank, world_size=2
    )
    file, predictions = folder / 'truth.json', make(folder / str(rank), number=5)[1]
    samples = samples_of(predictions)
    samples = [*samples, samples[0]][rank::2]
    metric = dict(type='CocoPanopticQualityMetric', ann_file=str(file), outfile_prefix=prefix)
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = META
    evaluator.process(samples)
    scores = evaluator.evaluate(5)
    (folder / f'{rank}.json').write_text(json.dumps(scores))
    distributed.destroy_process_group()


def test_two_processes(tmp_path):
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    file, predictions = make(tmp_path, number=5)
    prefix = str(tmp_path / 'results')
    multiprocessing.spawn(_rank, (tmp_path, prefix), nprocs=2)
    expected = evaluate(samples_of(predictions), file)
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == pytest.approx(expected)
    found = PanopticFiles(f'{prefix}.panoptic.json')
    assert sorted(found.annotations) == [100, 101, 102, 103, 104]
    again = folder_quality(found, PanopticFiles(file))
    assert percent(again) == pytest.approx(list(expected.values()))
