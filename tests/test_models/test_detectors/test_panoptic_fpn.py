"""Panoptic FPN: mmdet's panoptic map, with instances and semantic map beside it."""

import copy

import numpy as np
import pytest
import torch
from ellipses import SHAPES, SIZE, batch_of, instances_of
from mmdet.models.detectors import PanopticFPN as Theirs
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData, PixelData

from polarseg.apis import prepare_config
from polarseg.registry import MODELS
from polarseg.structures import PanopticMap

THINGS, STUFF = 5, 5
AGNOSTIC = dict(type='nms', iou_threshold=0.5, class_agnostic=True)


def config_of(repo_root, type='polarseg.PanopticFPN', rcnn=None, **panoptic):
    model = prepare_config(repo_root / 'configs/shapes/panoptic-fpn_V_19_slim_shapes.py').model
    model.type = type
    model.backbone.init_cfg = None
    model.test_cfg.rcnn.update(rcnn or {})
    model.test_cfg.panoptic.update(panoptic)
    return model


def build(config):
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    # masks and semantic labels that are neither empty nor all alike
    torch.nn.init.normal_(model.roi_head.mask_head.conv_logits.weight, std=0.3)
    # scores from the threshold to nearly one, so that rounding changes neither order nor choice
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.weight, std=0.2)
    torch.nn.init.normal_(model.semantic_head.conv_logits.weight, std=1.0)
    return model.eval()


def samples():
    batch = batch_of([instances_of(shapes) for shapes in SHAPES])
    batch['data_samples'][0].set_metainfo(dict(ori_shape=(64, 256), scale_factor=(0.5, 2.0)))
    return batch


@torch.no_grad()
def predict(model):
    return model.test_step(samples())


@pytest.fixture(scope='module')
def ours(repo_root):
    """All classes suppress one another in the box head already, as in mmdet's Panoptic FPN."""
    rcnn = dict(score_thr=0.05, nms=AGNOSTIC)
    model = build(config_of(repo_root, rcnn=rcnn, nms=None))
    scores = torch.cat([sample.pred_instances.scores for sample in predict(model)])
    model.test_cfg.panoptic.instance_score_thr = widest_gap(scores)
    return model, predict(model)


def widest_gap(scores):
    """A number between a third and two thirds of the scores that none is near to."""
    scores = scores.sort()[0]
    middle = scores[len(scores) // 3 : 2 * len(scores) // 3]
    place = middle.diff().argmax()
    return middle[place : place + 2].mean().item()


def test_the_map_is_mmdets(ours, repo_root):
    """Whose model has the threshold of what is fused in its box head."""
    rcnn = dict(score_thr=ours[0].test_cfg.panoptic.instance_score_thr, nms=AGNOSTIC)
    model = build(config_of(repo_root, 'mmdet.PanopticFPN', rcnn))
    assert type(model) is Theirs
    model.load_state_dict(ours[0].state_dict())
    for mine, theirs in zip(ours[1], predict(model)):
        expected = PanopticMap.from_data(theirs.pred_panoptic_seg, (THINGS, STUFF))
        found = PanopticMap.from_data(mine.pred_panoptic_seg)
        assert (found.ids == expected.ids).all()
        assert found.segments == expected.segments
        kinds = [segment.isthing for segment in found.segments]
        assert any(kinds)
        assert not all(kinds)


def test_results_hold_all_instances(ours):
    """More than are fused, at the size of the original picture."""
    for sample, size in zip(ours[1], [(64, 256), (SIZE, SIZE)]):
        found = sample.pred_instances
        assert found.masks.shape == (len(found.scores), *size)
        things = [s for s in PanopticMap.from_data(sample.pred_panoptic_seg).segments if s.isthing]
        confident = found.scores > ours[0].test_cfg.panoptic.instance_score_thr
        assert 0 < len(things) <= confident.sum() < len(found.scores)
        assert found.scores.min() > 0.05


def test_semantic_labels_are_those_of_the_other_detectors(ours):
    """Any thing 0, stuff from 1; what is left of it is the map's stuff."""
    for sample, size in zip(ours[1], [(64, 256), (SIZE, SIZE)]):
        labels = sample.pred_sem_seg.sem_seg
        assert (labels.dtype, labels.shape) == (torch.uint8, (1, *size))
        panoptic = PanopticMap.from_data(sample.pred_panoptic_seg)
        stuff = [segment for segment in panoptic.segments if not segment.isthing]
        for segment in stuff:
            own = labels[0].numpy()[panoptic.ids == segment.id]
            assert (own == segment.category_id - THINGS + 1).all()
        assert labels.max() <= STUFF


def instances(*rows):
    boxes, scores, labels = zip(*rows)
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32),
        scores=torch.tensor(scores),
        labels=torch.tensor(labels),
    )


FOUND = instances(
    ([0, 0, 10, 10], 0.9, 0),
    ([0, 0, 10, 11], 0.8, 1),  # of another class at the same place
    ([50, 50, 60, 60], 0.6, 1),  # at the threshold, not above it
    ([30, 30, 40, 40], 0.7, 2),
)


@pytest.mark.parametrize(
    ('options', 'scores'),
    [
        # those of the small config
        (dict(), [0.9, 0.7]),
        (dict(nms=None), [0.9, 0.8, 0.7]),
        (dict(instance_score_thr=0.95), []),
    ],
)
def test_which_instances_are_fused(repo_root, options, scores):
    model = build(config_of(repo_root, **options))
    assert model.confident(FOUND).scores.tolist() == pytest.approx(scores)


def test_without_thresholds_all_are_fused(ours, monkeypatch):
    """As mmdet does."""
    model, _ = ours
    monkeypatch.setitem(model.test_cfg, 'panoptic', dict(mask_overlap=0.5, stuff_area_limit=1))
    assert len(model.confident(FOUND)) == len(FOUND)


def test_no_instance(ours):
    model = copy.deepcopy(ours[0])
    torch.nn.init.constant_(model.roi_head.bbox_head.fc_cls.bias[-1], 100.0)  # background
    for sample in predict(model):
        assert len(sample.pred_instances) == 0
        segments = PanopticMap.from_data(sample.pred_panoptic_seg).segments
        assert segments
        assert not any(segment.isthing for segment in segments)


def test_training_is_mmdets(ours, repo_root):
    """Same losses from the same weights."""
    losses = []
    for type in ('polarseg.PanopticFPN', 'mmdet.PanopticFPN'):
        model = build(config_of(repo_root, type)).train()
        model.load_state_dict(ours[0].state_dict())
        batch = samples()
        for sample in batch['data_samples']:
            sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes(torch.zeros(0, 4)))
            sample.gt_instances.bboxes = HorizontalBoxes(sample.gt_instances.bboxes)
            labels = torch.full((1, *sample.img_shape), THINGS, dtype=torch.uint8)
            sample.gt_sem_seg = PixelData(sem_seg=labels)
        data = model.data_preprocessor(batch, training=True)
        np.random.seed(0)  # noqa: NPY002  (mmdet's sampler draws from it)
        torch.manual_seed(0)
        losses.append(model.parse_losses(model(**data, mode='loss'))[1])
    assert losses[0] == losses[1]
    assert 'loss_seg' in losses[0]
