"""Attention and blocks of VoVNet against the published modules."""

import numpy as np
import pytest
import torch

from polarseg.apis.layouts import LAYOUTS
from polarseg.models.backbones import OSABlock
from polarseg.models.backbones.vovnet import _attention

pytestmark = pytest.mark.golden('centermask_units')


def published_weights(case, recipe, module):
    """The tensors of a module of the fixtures, without its prefix."""
    tensors = {}
    for name, shape, _, *override in case['modules'][module]:
        array = recipe.make_array(name, shape, *override)
        tensors[name.removeprefix(f'{module}.')] = torch.from_numpy(np.array(array))
    return tensors


def our_weights(tensors):
    """Those of the first block of stage 2, as the converter renames them."""
    (layout,) = (layout for layout in LAYOUTS if layout.name == 'vovnet')
    published = {f'stage2.OSA2_1.{name}': tensor for name, tensor in tensors.items()}
    return {n.removeprefix('stage2.0.'): v for n, v in layout.convert(published).items()}


def assert_output(case, module, network):
    arrays = {part: torch.from_numpy(case['arrays'][f'{module}_{part}']) for part in ('in', 'out')}
    with torch.no_grad():
        output = network(arrays['in'])
    assert output.shape == arrays['out'].shape
    worst = (output - arrays['out']).abs().max() / arrays['out'].abs().max()
    assert worst <= 1e-5


def test_ese(case, recipe):
    attention = _attention('eSE', 32)
    attention.load_state_dict(published_weights(case, recipe, 'ese'))
    assert_output(case, 'ese', attention)


@pytest.mark.parametrize(
    ('module', 'options'),
    [
        ('osa', dict(in_channels=24)),
        ('osa_identity', dict(in_channels=40, identity=True)),
        ('osa_dw', dict(in_channels=24, depthwise=True)),
        ('osa_dw_same', dict(in_channels=16, depthwise=True)),
    ],
)
def test_osa_block(case, recipe, module, options):
    block = OSABlock(width=16, out_channels=40, num_layers=3, **options).eval()
    block.load_state_dict(our_weights(published_weights(case, recipe, module)))
    assert_output(case, module, block)
