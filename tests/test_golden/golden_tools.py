"""What the tests of whole published networks have in common."""

import re

import numpy as np
import torch
from config_tools import without_pretrained
from mmdet.structures import DetDataSample

from polarseg.apis.published import convert_state_dict, load_exactly
from polarseg.registry import MODELS


def assert_near(actual, expected, what, tolerance=1e-4):
    """The largest difference, as a share of the largest expected magnitude."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, what
    if expected.size == 0:
        return
    worst = np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-12)
    assert worst <= tolerance, f'{what}: off by {worst:.2e} of the maximum'


def build_published(config, tensors):
    """The config's model with the published tensors, every one of them used, and their layout."""
    model = MODELS.build(without_pretrained(config.model.to_dict()))
    converted, layout = convert_state_dict(tensors)
    load_exactly(model, converted)
    return model.eval(), layout


def thinned(maps, meaning):
    """The part of [C, H, W] maps that a fixture keeps, as its description says; else all."""
    if maps.dim() < 3:
        return maps
    channels = re.search(r'(?:channels|classes) (?:\[::(\d+)\]|0,(\d+),)', meaning)
    rows = re.search(r'rows/cols \[::(\d+)\]|every (\d+)th row', meaning)
    every = int(channels[1] or channels[2]) if channels else 1
    step = int(rows[1] or rows[2]) if rows else 1
    return maps[..., ::every, ::step, ::step]


def network_input(model, case, recipe, images, pad_size_divisor):
    """Inputs and samples of a batch as the model's own preprocessor hands them on."""
    preprocessing = case['preprocessing']
    preprocessor = model.data_preprocessor
    preprocessor.pad_size_divisor = pad_size_divisor
    np.testing.assert_allclose(preprocessor.mean.flatten(), preprocessing['mean'], rtol=1e-5)
    np.testing.assert_allclose(preprocessor.std.flatten(), preprocessing['std'], rtol=1e-5)
    pictures = [torch.from_numpy(recipe.make_image(**image)).permute(2, 0, 1) for image in images]
    samples = []
    for image in images:
        shape = (image['height'], image['width'])
        meta = dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
        samples.append(DetDataSample(metainfo=meta))
    return preprocessor(dict(inputs=pictures, data_samples=samples))


def match(found, boxes, scores, labels):
    """Our detection for each of the fixture's: same class, nearest score and box."""
    free = np.ones(len(found), dtype=bool)
    order = []
    for box, score, label in zip(boxes, scores, labels):
        cost = np.abs(found.bboxes.numpy() - box).max(axis=1) / max(np.abs(boxes).max(), 1e-12)
        cost += np.abs(found.scores.numpy() - score)
        cost[~free | (found.labels.numpy() != label)] = np.inf
        best = int(cost.argmin())
        assert np.isfinite(cost[best]), f'no detection is left for class {label:.0f}'
        free[best] = False
        order.append(best)
    return order
