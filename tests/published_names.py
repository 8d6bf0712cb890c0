"""What published files call the tensors of our backbones, for tests to write such files."""

import re

VOVNET_UNITS = (
    ('depthwise_conv.conv.', 'dw_conv3x3.'),
    ('pointwise_conv.conv.', 'pw_conv1x1.'),
    ('pointwise_conv.bn.', 'pw_norm.'),
    ('bn.', 'norm.'),
)


def published_vovnet_name(name, deformable=None):
    """Our name -> the published one; ``deformable``: how deformable layers are spelt."""
    for ours, theirs in VOVNET_UNITS:
        name = name.replace(f'.{ours}', f'/{theirs}')
    if deformable == 'original':
        name = name.replace('.conv.conv_offset.', '/conv.offset.')
        if re.match(r'stage[345]\..*layers\.\d+\.conv\.', name):
            name = name.replace('.conv.', '/conv.conv.')
    elif deformable == 'centermask2':
        name = name.replace('.conv.conv_offset.', '/conv_offset.')
    name = name.replace('.conv.', '/conv.') if '/conv.' not in name else name
    name = re.sub(r'^stem\.(\d)', lambda m: f'stem.stem_{int(m[1]) + 1}', name)
    block = re.match(r'stage(\d)\.(\d+)\.(.*)', name)
    if block is None:
        return name
    osa = f'OSA{block[1]}_{int(block[2]) + 1}'
    rest = re.sub(r'^layers\.(\d+)', rf'layers.\1.{osa}_\1', block[3])
    rest = re.sub(r'^concat', f'concat.{osa}_concat', rest)
    rest = re.sub(r'^reduction', f'conv_reduction.{osa}_reduction_0', rest)
    rest = re.sub(r'^attention\.', 'ese.', rest)
    return f'stage{block[1]}.{osa}.{rest}'


def published_mobilenet_name(name):
    """Our name -> the flat lists of the published files."""
    starts = (1, 2, 4, 7, 11, 14, 17)
    if name.startswith('conv1.'):
        return name.replace('conv1.conv.', 'features.0.0.').replace('conv1.bn.', 'features.0.1.')
    layer, block, unit, part, rest = re.match(
        r'layer(\d)\.(\d+)\.(\w+)_conv\.(conv|bn)\.(.+)', name
    ).groups()
    units = ['expand', 'depthwise', 'linear'][layer == '1' :]
    entry = starts[int(layer) - 1] + int(block)
    return f'features.{entry}.conv.{3 * units.index(unit) + (part == "bn")}.{rest}'


def torchvision_mobilenet_name(name):
    """Our name -> torchvision's, whose units with an activation are lists of their own."""
    match = re.match(r'(features\.(\d+)\.conv\.)(\d+)\.(.+)', published_mobilenet_name(name))
    if match is None:
        return published_mobilenet_name(name)
    unit, part = divmod(int(match[3]), 3)
    last = 1 if match[2] == '1' else 2
    place = f'{unit}.{part}' if unit < last else f'{unit + part}'
    return f'{match[1]}{place}.{match[4]}'


def timm_name(name, attention='attn'):
    """Our name -> timm's."""
    name = name.replace('depthwise_conv.conv.', 'conv_dw.').replace('pointwise_conv.bn.', 'bn.')
    name = name.replace('pointwise_conv.conv.', 'conv_pw.')
    name = re.sub(r'^stage(\d)\.', lambda m: f'stages.{int(m[1]) - 2}.blocks.', name)
    name = name.replace('.layers.', '.conv_mid.').replace('.concat.', '.conv_concat.')
    return name.replace('.reduction.', '.conv_reduction.').replace('.attention.', f'.{attention}.')
