"""Panoptic files of CenterMask2: names, what tells them apart, what a model or a file lacks."""

from pathlib import Path

import pytest
import torch
from config_tools import without_pretrained
from mmengine.config import Config
from published_names import published_centermask2_name

from polarseg.apis.published import (
    LayoutError,
    convert_state_dict,
    detect_layout,
    load_exactly,
)
from polarseg.registry import MODELS

FOLDER = Path(__file__).resolve().parents[3] / 'configs/centermask2'
MARKS = ('proposal_generator.fcos_head.cls_logits.weight', 'roi_heads.mask_head.predictor.weight')
PANOPTIC = (*MARKS, 'sem_seg_head.predictor.weight')
RESNET = (dict(depth=50, base_channels=8), [32, 64, 128, 256])
VOVNET = (dict(arch='V-19-slim'), [112, 256, 384, 512])
# published config, backbone and widths to be quick with
CASES = {
    'resnet': ('R_50', 'R_50', RESNET),
    'vovnet': ('V_39', 'V_39_eSE', VOVNET),
}
# a convolution and its norm in P2, P3, two of P4, three of P5; the predictor
NUM_SEMANTIC = 3 * (1 + 1 + 2 + 3) + 2


def build(name, reduced):
    """The model of a config with a smaller backbone."""
    backbone, widths = reduced
    cfg = Config.fromfile(FOLDER / f'{name}_FPN_ms_3x.py').model
    cfg.backbone.update(backbone)
    cfg.neck.in_channels = widths[-len(cfg.neck.in_channels) :]
    return MODELS.build(without_pretrained(cfg))


def published_file(numbered, model, first_level):
    """The model's tensors under published names; frozen norms have no counter in the files."""
    file = numbered(model, lambda name: published_centermask2_name(name, first_level))
    file = {name: value for name, value in file.items() if 'num_batches_tracked' not in name}
    scales = [name for name in file if name.endswith('.scale')]
    assert len(scales) == 5
    return file | {name: file[name].reshape(1) for name in scales}


@pytest.fixture(params=sorted(CASES))
def pair(request):
    """A panoptic model and the instance model of the same network."""
    panoptic, instances, reduced = CASES[request.param]
    return (
        build(f'panoptic_centermask_{panoptic}', reduced),
        build(f'centermask_{instances}', reduced),
    )


def test_every_tensor_has_its_place(numbered, pair):
    model = pair[0]
    file = published_file(numbered, model, 2)
    for name in ('p2.0.weight', 'p5.4.norm.bias', 'p4.2.weight', 'predictor.bias'):
        assert f'sem_seg_head.{name}' in file
    assert {'backbone.fpn_lateral2.weight', 'backbone.top_block.p7.bias'} < file.keys()
    assert len([name for name in file if name.startswith('sem_seg_head.')]) == NUM_SEMANTIC
    converted, layout = convert_state_dict(dict(model=file, iteration=7))
    assert layout.name == 'centermask2_panoptic'
    load_exactly(model, converted)
    for number, (name, tensor) in enumerate(model.state_dict().items(), start=1):
        expected = 0 if name.endswith('num_batches_tracked') else number
        assert (tensor == expected).all(), name


def lines_of(error):
    return sorted(line.strip() for line in str(error.value).splitlines()[1:])


def test_a_panoptic_model_is_told_what_an_instance_file_lacks(numbered, pair):
    model, instances = pair
    file = published_file(numbered, instances, 3)
    converted, layout = convert_state_dict(file, model=model)
    assert layout.name == 'centermask2_panoptic'
    with pytest.raises(LayoutError) as caught:
        load_exactly(model, converted)
    assert f'(number of tensors): semantic_head ({NUM_SEMANTIC})' in str(caught.value)
    missing = [
        f'neck.{conv}.0.conv.{part}'
        for conv in ('lateral_convs', 'fpn_convs')
        for part in ('weight', 'bias')
    ]
    missing += [name for name in model.state_dict() if name.startswith('semantic_head.')]
    assert lines_of(caught) == sorted(f'missing: {name}' for name in missing)
    # without a model the file's own marks decide
    assert convert_state_dict(file)[1].name == 'centermask2'


def test_an_instance_model_is_told_what_a_panoptic_file_has_beside(numbered, pair):
    panoptic, model = pair
    file = published_file(numbered, panoptic, 2)
    converted, layout = convert_state_dict(file, model=model)
    assert layout.name == 'centermask2'
    with pytest.raises(LayoutError) as caught:
        load_exactly(model, converted)
    beside = ('backbone.fpn_lateral2', 'backbone.fpn_output2', 'sem_seg_head')
    expected = [f'unexpected: {name}' for name in file if name.startswith(beside)]
    assert len(expected) == 4 + NUM_SEMANTIC
    assert lines_of(caught) == sorted(expected)


def test_layouts_are_told_apart():
    assert detect_layout(PANOPTIC).name == 'centermask2_panoptic'
    assert detect_layout(MARKS).name == 'centermask2'
    blendmask = (MARKS[0], 'top_layer.weight', 'basis_module.refine.0.0.weight')
    assert detect_layout({*blendmask, 'panoptic_module.predictor.weight'}).name == (
        'blendmask_panoptic'
    )


def test_older_files_and_what_has_no_place():
    """An upsampling has no tensors: the strict loading names what is there."""
    file = {name: torch.zeros(2) for name in PANOPTIC}
    file |= {'pixel_mean': torch.zeros(3, 1, 1), 'sem_seg_head.p3.1.weight': torch.ones(1)}
    converted, layout = convert_state_dict({f'module.{name}': v for name, v in file.items()})
    assert layout.name == 'centermask2_panoptic'
    assert [name for name, tensor in converted.items() if len(tensor) == 1] == [
        'semantic_head.conv_upsample_layers.1.1.weight'
    ]
    assert len(converted) == len(PANOPTIC) + 1
