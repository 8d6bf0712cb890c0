"""Every config builds; every distinct model trains a step and predicts on a small picture.

Models that differ in depth alone (R-101 and R-50, V-99 and V-39), or in numbers of the input or of
the initial weights, count as one there.
"""

import json
import warnings
from collections import defaultdict
from copy import deepcopy
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from config_tools import without_pretrained
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData

from polarseg.apis import prepare_config
from polarseg.datasets.transforms import TracePolarContours
from polarseg.registry import HOOKS, METRICS, MODELS, PARAM_SCHEDULERS, TRANSFORMS, VISUALIZERS
from polarseg.structures import PanopticMap, join_labels

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
ALL = sorted(
    str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts
)
OWN = ('polar', 'centermask', 'blendmask')
OURS = [name for name in ALL if any(part.startswith(OWN) for part in Path(name).parts)]
HEIGHT, WIDTH = 96, 128

# What neither changes the code that runs nor, but for a network's depth, the layers' shapes: of the
# models that differ in these alone one trains a step, the others are only built.
SHALLOWER = {101: 50, 'V-57': 'V-39', 'V-99': 'V-39'}
NOT_STRUCTURE = ('init_cfg', 'mean', 'std', 'weight_init', 'instance_score_thr')


@cache
def read(name):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return prepare_config(CONFIGS / name)


def load(name):
    """A copy of the config, whose scope is now the default."""
    cfg = deepcopy(read(name))
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    return cfg


def structure(node, shallower):
    """A model section without what does not change its structure."""
    if isinstance(node, dict):
        kept = {key: value for key, value in node.items() if key not in NOT_STRUCTURE}
        return {key: structure(value, shallower) for key, value in kept.items()}
    if isinstance(node, (list, tuple)):
        return [structure(item, shallower) for item in node]
    return shallower.get(node, node)


def distinct_models():
    """One config, if possible with a shallow network, for each distinct structure of a model."""
    alike = defaultdict(list)
    for name in ALL:
        cfg = read(name)
        model = cfg.model.to_dict()
        reduced = structure(model, SHALLOWER)
        key = json.dumps([reduced, cfg.get('inclusive_boxes')], sort_keys=True)
        alike[key].append((reduced != structure(model, {}), name))
    return sorted(min(names)[1] for names in alike.values())


def label_map(model, things):
    """The label map that the model's loader gives, with one kind of stuff and unlabelled pixels.

    Args:
        model: section of the config.
        things: ``[H, W]`` uint8 as LoadThingSemantic paints them: 0, and class index + 1.
    """
    unlabelled = np.zeros_like(things)
    unlabelled[:20, :20] = 255
    if model.data_preprocessor.type == 'PanopticDataPreprocessor':
        semantic = np.where(things > 0, 0, np.maximum(1, unlabelled))
        return join_labels(things, semantic)
    if 'panoptic_fusion_head' in model:
        # mmdet's: things, then stuff
        stuff = model.panoptic_fusion_head.num_things_classes
        return np.where(things > 0, things - 1, np.maximum(stuff, unlabelled))
    return things


def picture_with_objects(seed, model):
    """A noisy picture with a bright disc and a bright box, and its ground truth."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    masks = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    cv2.circle(masks[0], (40 + 4 * seed, 44), 26, 1, -1)
    cv2.rectangle(masks[1], (80, 30), (115, 80), 1, -1)
    image[masks.any(axis=0)] = 220
    boxes = [cv2.boundingRect(mask) for mask in masks]
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], np.float32)
    bitmaps = BitmapMasks(list(masks), HEIGHT, WIDTH)
    traced = TracePolarContours(keep_masks=True).transform(
        dict(gt_masks=bitmaps, gt_bboxes=boxes, img_id=seed)
    )
    instances = InstanceData(
        bboxes=HorizontalBoxes(torch.from_numpy(boxes)),
        labels=torch.zeros(2, dtype=torch.long),
        masks=bitmaps,
        contours=traced['gt_contours'],
        centers=torch.from_numpy(traced['gt_centers']),
    )
    shape = (HEIGHT, WIDTH)
    meta = dict(
        img_id=seed, img_shape=shape, ori_shape=shape, pad_shape=shape, scale_factor=(1.0, 1.0)
    )
    sample = DetDataSample(metainfo=meta, gt_instances=instances)
    sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes(torch.zeros(0, 4)))
    labels = label_map(model, masks.any(axis=0).astype(np.uint8))
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(labels[None]))
    return torch.from_numpy(image).permute(2, 0, 1).contiguous(), sample


def batch_of_two(model):
    images, samples = zip(*(picture_with_objects(seed, model) for seed in range(2)))
    return dict(inputs=list(images), data_samples=list(samples))


@pytest.mark.parametrize('name', ALL)
def test_config_builds(name):
    """Model, pipelines, schedule, hooks, metrics: all but what needs the data on disk."""
    cfg = load(name)
    model = MODELS.build(without_pretrained(cfg.model.to_dict()))
    assert any(parameter.requires_grad for parameter in model.parameters())
    assert cfg.optim_wrapper.optimizer.lr > 0
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        for step in dataset.get('pipeline', []):
            TRANSFORMS.build(step)
    VISUALIZERS.build(dict(cfg.visualizer, name=f'test of {name}', vis_backends=None))
    for hook in cfg.default_hooks.values():
        HOOKS.build(dict(hook))


@pytest.mark.parametrize('name', distinct_models())
def test_model_trains_a_step_and_predicts(name):
    torch.manual_seed(0)
    cfg = load(name)
    model = MODELS.build(without_pretrained(cfg.model.to_dict()))
    model.train()
    data = model.data_preprocessor(batch_of_two(cfg.model), training=True)
    losses = model(**data, mode='loss')
    total, _ = model.parse_losses(losses)
    assert torch.isfinite(total), losses
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)

    model.eval()
    with torch.no_grad():
        predictions = model.test_step(batch_of_two(cfg.model))
    assert len(predictions) == 2
    for sample in predictions:
        check_panoptic(cfg.model, sample)
        found = sample.pred_instances
        assert len(found.bboxes) == len(found.scores) == len(found.labels)
        if 'masks' in found:
            assert len(found.masks) == len(found.scores)


def check_panoptic(model, sample):
    """A panoptic model gives a map of its own classes, and the semantic map beside it."""
    fusion = model.get('panoptic_fusion') or model.get('panoptic_fusion_head')
    if fusion is None:
        return
    things, stuff = fusion.num_things_classes, model.semantic_head.num_stuff_classes
    panoptic = PanopticMap.from_data(sample.pred_panoptic_seg)
    assert panoptic.ids.shape == (HEIGHT, WIDTH)
    for segment in panoptic.segments:
        assert segment.isthing is (segment.category_id < things)
        assert segment.category_id < things + stuff
    assert sample.pred_sem_seg.sem_seg.shape == (1, HEIGHT, WIDTH)
    assert sample.pred_sem_seg.sem_seg.max() <= stuff


@pytest.mark.parametrize('name', OURS)
def test_one_switch_sets_the_box_convention_everywhere(name):
    for value in (True, False):
        cfg = prepare_config(CONFIGS / name, cfg_options=dict(inclusive_boxes=value))
        found = []

        def collect(node, found=found):
            if isinstance(node, dict):
                found += [node[key] for key in node if key == 'inclusive_boxes']
                node = list(node.values())
            if isinstance(node, (list, tuple)):
                for child in node:
                    collect(child)

        collect(cfg.to_dict())
        assert found
        assert set(found) == {value}


def test_metrics_take_their_arguments(tmp_path):
    """The metric sections are right but for the annotation file, which is not here."""
    (tmp_path / 'empty.json').write_text(json.dumps(dict(images=[], annotations=[], categories=[])))
    for name in ALL:
        cfg = load(name)
        evaluators = (
            cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
        )
        for evaluator in evaluators:
            METRICS.build(dict(evaluator, ann_file=str(tmp_path / 'empty.json')))


def test_schedulers_build():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    for name in ALL:
        cfg = load(name)
        for scheduler in cfg.param_scheduler:
            scheduler = dict(scheduler)
            if scheduler.pop('convert_to_iter_based', False):
                scheduler['by_epoch'] = True
            PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optimizer))
