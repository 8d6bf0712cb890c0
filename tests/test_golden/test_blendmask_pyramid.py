"""Backbone and pyramid of the panoptic model, whose levels begin with P2."""

import json
import re

import numpy as np
import pytest
import torch
from golden_tools import assert_near
from torch import nn

from polarseg.apis.published import convert_state_dict, load_exactly
from polarseg.registry import MODELS

CASE = 'blendmask_panoptic_r50'


@pytest.fixture(scope='module')
def panoptic(golden_dir):
    """The case and its arrays."""
    file = golden_dir / f'{CASE}.json'
    if not file.is_file():
        pytest.skip(f'no case {CASE} in {golden_dir}')
    with np.load(file.with_suffix('.npz')) as arrays:
        return json.loads(file.read_text()), dict(arrays)


def build():
    """ResNet-50 in Caffe's style with frozen norms, and a pyramid of the levels P2 to P7."""
    backbone = dict(
        type='ResNet',
        depth=50,
        style='caffe',
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
    )
    neck = dict(
        type='FPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        num_outs=6,
        add_extra_convs='on_output',
        relu_before_extra_convs=True,
    )
    parts = dict(backbone=MODELS.build(backbone), neck=MODELS.build(neck))
    return nn.ModuleDict(parts).eval()


def network_input(case, recipe):
    """The case's picture, normalised and padded at its right and bottom."""
    settings = case['preprocessing']
    picture = recipe.make_image(**case['image']).astype(np.float32)
    picture = (picture - np.float32(settings['mean'])) / np.float32(settings['std'])
    divisor = settings['pad_to_multiple_of']
    bottom, right = (-side % divisor for side in picture.shape[:2])
    picture = np.pad(picture, ((0, bottom), (0, right), (0, 0)))
    return torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous()


def test_pyramid(panoptic, recipe):
    case, arrays = panoptic
    converted, layout = convert_state_dict(recipe.state_dict(case))
    assert layout.name == 'blendmask_panoptic'
    parts = ('backbone.', 'neck.')
    model = build()
    load_exactly(model, {n: v for n, v in converted.items() if n.startswith(parts)})
    with torch.no_grad():
        levels = model['neck'](model['backbone'](network_input(case, recipe)))
    names = [name for name in arrays if re.fullmatch(r'fpn_p[2-7]', name)]
    assert len(names) == len(levels) == 6
    for name in names:
        level = levels[int(name[-1]) - 2][0]
        steps = [int(step) for step in re.findall(r'::(\d+)', case['outputs'][name]['meaning'])]
        steps += [1] * (3 - len(steps))
        assert_near(level[:: steps[0], :: steps[1], :: steps[2]], arrays[name], name)
