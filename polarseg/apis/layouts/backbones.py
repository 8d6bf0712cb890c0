"""Backbones by themselves: ImageNet weights of VoVNet, MobileNetV2 and DLA, and timm's VoVNets.

The tables of names also serve the detectors' layouts: they turn a published backbone's names into
ours, both without prefix.
"""

import re

from polarseg.apis.layouts.layout import Layout, Rename, counted

__all__ = [
    'BACKBONES',
    'MOBILENET_V2_RENAMES',
    'VOVNET_RENAMES',
]


# A slash follows the published name of every unit. The patterns without anchor are safe: nothing
# but these units has a slash in its name.
VOVNET_RENAMES: tuple[Rename, ...] = (
    (r'\bstem\.stem_([123])(?=/)', counted('stem.#', 1)),
    (r'\b(stage([2-5]))\.OSA\2_(\d+)\.', counted(r'\1.#.', 1)),
    (r'\.layers\.(\d+)\.OSA\d_\d+_\1(?=/)', r'.layers.\1'),
    (r'\.concat\.OSA\d_\d+_concat(?=/)', '.concat'),
    (r'\.conv_reduction\.OSA\d_\d+_reduction_0(?=/)', '.reduction'),
    (r'\.ese\.fc\.', '.attention.fc.'),
    # deformable layers: the original's, then CenterMask2's
    (r'/conv\.offset\.', '.conv.conv_offset.'),
    (r'/conv\.conv\.', '.conv.'),
    (r'/conv_offset\.', '.conv.conv_offset.'),
    (r'/conv\.', '.conv.'),
    (r'/norm\.', '.bn.'),
    (r'/dw_conv3x3\.', '.depthwise_conv.conv.'),
    (r'/pw_conv1x1\.', '.pointwise_conv.conv.'),
    (r'/pw_norm\.', '.pointwise_conv.bn.'),
)

# entries of the published flat list -> our layers, whose blocks begin there
_MOBILENET_STARTS = {1: 1, 2: 2, 3: 4, 4: 7, 5: 11, 6: 14, 7: 17}
_UNITS = ('expand_conv', 'depthwise_conv', 'linear_conv')


def _mobilenet_block(entry: int) -> str:
    layer = max(layer for layer, start in _MOBILENET_STARTS.items() if start <= entry)
    return f'layer{layer}.{entry - _MOBILENET_STARTS[layer]}'


def _mobilenet_unit(match: re.Match) -> str:
    """A block as a flat list: convolution, norm and ReLU6 of each unit.

    The first block has no expansion, so that its list begins with the depthwise unit.
    """
    entry, number = int(match[1]), int(match[2])
    unit, part = divmod(number, 3)
    unit += entry == 1
    if not 1 <= entry <= 17 or unit > 2 or part == 2:
        return match[0]  # no such tensor: let the strict loading name it
    return f'{_mobilenet_block(entry)}.{_UNITS[unit]}.{("conv", "bn")[part]}.'


def _torchvision_unit(match: re.Match) -> str:
    """A block of torchvision: units with an activation are lists of their own."""
    entry, number = int(match[1]), int(match[2])
    units = _UNITS[entry == 1 :]
    if match[3] is not None:
        unit, part = number, int(match[3])
    else:
        unit, part = len(units) - 1, number - (len(units) - 1)
    nested = unit < len(units) - 1
    known = 1 <= entry <= 17 and unit < len(units) and part in (0, 1)
    if not known or nested != (match[3] is not None):
        return match[0]
    return f'{_mobilenet_block(entry)}.{units[unit]}.{("conv", "bn")[part]}.'


_MOBILENET_STEM: tuple[Rename, ...] = (
    (r'\bfeatures\.0\.0\.', 'conv1.conv.'),
    (r'\bfeatures\.0\.1\.', 'conv1.bn.'),
)
MOBILENET_V2_RENAMES: tuple[Rename, ...] = (
    *_MOBILENET_STEM,
    (r'\bfeatures\.(\d+)\.conv\.(\d+)\.(?=\D)', _mobilenet_unit),
)
_TORCHVISION_RENAMES: tuple[Rename, ...] = (
    *_MOBILENET_STEM,
    (r'\bfeatures\.(\d+)\.conv\.(\d+)\.(?:(\d+)\.)?(?=\D)', _torchvision_unit),
)


def _next_stage(match: re.Match) -> str:
    return f'stage{int(match[1]) + 2}.{match[2]}.'


_TIMM_BLOCKS: tuple[Rename, ...] = (
    (r'\bstages\.(\d+)\.blocks\.(\d+)\.', _next_stage),
    (r'\.conv_mid\.(\d+)\.', r'.layers.\1.'),
    (r'\.conv_reduction\.', '.reduction.'),
    (r'\.conv_concat\.', '.concat.'),
    (r'\.(?:attn|ese)\.fc\.', '.attention.fc.'),
)
_TIMM_DEPTHWISE: tuple[Rename, ...] = (
    (r'\.conv_dw\.', '.depthwise_conv.conv.'),
    (r'\.conv_pw\.', '.pointwise_conv.conv.'),
    (r'\b(stem\.[12]|layers\.\d+)\.bn\.', r'\1.pointwise_conv.bn.'),
)


def _without_prefix(start: str) -> Rename:
    """Takes off whatever stands before the backbone's own names, such as ``backbone.body.``."""
    return (rf'^(?:.*?\.)?(?={start})', '')


_CLASSIFIER = r'^(?:module\.)?(?:classifier|fc|head)\.'
_VOVNET_LICENCE = (
    'Converted from ImageNet weights published by the authors of VoVNet and CenterMask; the '
    'weights stay under their terms.'
)
_TIMM_LICENCE = (
    'Converted from weights published with timm (PyTorch Image Models); the weights stay under '
    "the terms that timm's model card names."
)
_TIMM_HINT = (
    "timm's VoVNets with attention have it in the last block of each stage: set attention_blocks="
    "'last' in the backbone. Those whose names begin with vovnet have none and no identity: "
    'attention=None, identity=False.'
)

BACKBONES: tuple[Layout, ...] = (
    Layout(
        name='vovnet',
        marks=('stem.stem_1/conv.weight',),
        renames=(_without_prefix(r'stem\.stem_|stage[2-5]\.OSA'), *VOVNET_RENAMES),
        ignores=(_CLASSIFIER,),
        fills_counters=True,
        backbone_only=True,
        licence=_VOVNET_LICENCE,
    ),
    Layout(
        name='mobilenet_v2',
        marks=('features.0.0.weight', 'features.1.conv.3.weight'),
        renames=(_without_prefix(r'features\.\d'), *MOBILENET_V2_RENAMES),
        # the 1280 channels before the classifier, in either of their places
        ignores=(_CLASSIFIER, r'(?:^|\.)features\.18\.', r'^(?:module\.)?conv\.[01]\.'),
        fills_counters=True,
        backbone_only=True,
        licence='Converted from published ImageNet weights of MobileNetV2, which stay under the '
        'terms of who published them.',
    ),
    Layout(
        name='mobilenet_v2_torchvision',
        marks=('features.0.0.weight', 'features.1.conv.0.0.weight'),
        renames=(_without_prefix(r'features\.\d'), *_TORCHVISION_RENAMES),
        ignores=(_CLASSIFIER, r'(?:^|\.)features\.18\.'),
        fills_counters=True,
        backbone_only=True,
        licence="Converted from torchvision's ImageNet weights of MobileNetV2, which stay under "
        'the terms of torchvision.',
    ),
    Layout(
        name='dla',
        marks=('base_layer.0.weight', 'level2.root.conv.weight'),
        renames=(_without_prefix(r'(?:base_layer|level[0-5])\.'),),
        ignores=(_CLASSIFIER,),
        fills_counters=True,
        backbone_only=True,
        licence='Converted from ImageNet weights published by the authors of DLA; the weights stay '
        'under their terms.',
    ),
    Layout(
        name='timm_vovnet_dw',
        marks=('stem.1.conv_dw.weight', 'stages.0.blocks.0.conv_concat.conv.weight'),
        renames=(_without_prefix(r'(?:stem|stages)\.\d'), *_TIMM_BLOCKS, *_TIMM_DEPTHWISE),
        ignores=(_CLASSIFIER,),
        fills_counters=True,
        backbone_only=True,
        licence=_TIMM_LICENCE,
        hint=_TIMM_HINT,
    ),
    Layout(
        name='timm_vovnet',
        marks=('stem.1.conv.weight', 'stages.0.blocks.0.conv_concat.conv.weight'),
        renames=(_without_prefix(r'(?:stem|stages)\.\d'), *_TIMM_BLOCKS),
        ignores=(_CLASSIFIER,),
        fills_counters=True,
        backbone_only=True,
        licence=_TIMM_LICENCE,
        hint=_TIMM_HINT,
    ),
)
