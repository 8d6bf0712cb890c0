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


_BLENDMASK_UNITS = (
    ('backbone.', 'backbone.bottom_up.'),
    ('bbox_head.top_layer.', 'top_layer.'),
    ('bbox_head.share_convs.', 'proposal_generator.fcos_head.share_tower.'),
    ('bbox_head.cls_convs.', 'proposal_generator.fcos_head.cls_tower.'),
    ('bbox_head.reg_convs.', 'proposal_generator.fcos_head.bbox_tower.'),
    ('bbox_head.conv_cls.', 'proposal_generator.fcos_head.cls_logits.'),
    ('bbox_head.conv_reg.', 'proposal_generator.fcos_head.bbox_pred.'),
    ('bbox_head.conv_centerness.', 'proposal_generator.fcos_head.ctrness.'),
    ('bbox_head.scales.', 'proposal_generator.fcos_head.scales.'),
)


def detectron2_resnet_name(name):
    """Our name of a ResNet's tensor -> detectron2's."""
    name = name.replace('downsample.0.', 'shortcut.').replace('downsample.1.', 'shortcut.norm.')
    name = name.replace('.conv2.conv_offset.', '.conv2_offset.')
    name = re.sub(r'\bbn(\d)\.', r'conv\1.norm.', name)
    name = re.sub(r'^conv1\.', 'stem.conv1.', name)
    return re.sub(r'^layer(\d)', lambda m: f'res{int(m[1]) + 1}', name)


def _pyramid_name(name, first_level):
    number = int(re.search(r'convs\.(\d+)', name)[1]) + first_level
    part = name.rsplit('.', 1)[1]
    if number > 5:
        return f'backbone.top_block.p{number}.{part}'
    kind = 'lateral' if 'lateral' in name else 'output'
    return f'backbone.fpn_{kind}{number}.{part}'


def _tower_name(name):
    """Entries 3 i and 3 i + 1 of a flat list; norms of the levels are a list of their own."""
    tower, layer, part, level, rest = re.fullmatch(
        r'(.+_tower)\.(\d+)\.(conv|gn|norms)\.(\d+\.)?(\w+)', name
    ).groups()
    return f'{tower}.{3 * int(layer) + (part != "conv")}.{level or ""}{rest}'


def semantic_name(name, published):
    """Our name of a tensor of the semantic branch -> that in the branch of the name published."""
    if 'conv_logits' in name:
        return name.replace('semantic_head.conv_logits', f'{published}.predictor')
    level, layer, kind, part = re.fullmatch(
        r'semantic_head\.conv_upsample_layers\.(\d)\.conv\.(\d)\.(conv|gn)\.(\w+)', name
    ).groups()
    norm = 'norm.' if kind == 'gn' else ''
    return f'{published}.p{int(level) + 2}.{2 * int(layer)}.{norm}{part}'


def published_blendmask_name(name, first_level=3):
    """Our name of a tensor of BlendMask -> the published one.

    Args:
        name: ours.
        first_level: of the pyramid: 3, or 2 in panoptic models.
    """
    if name.startswith('neck.'):
        return _pyramid_name(name, first_level)
    if name.startswith('basis_module.seg_head.'):
        layer, rest = name.removeprefix('basis_module.seg_head.').split('.', 1)
        entry = 3 * int(layer) + rest.startswith('bn.')
        return f'basis_module.seg_head.{entry}.{rest.rsplit(".", 1)[-1]}'
    if name.startswith('basis_module.'):
        return name.replace('.conv.', '.0.').replace('.bn.', '.1.')
    if name.startswith('semantic_head.'):
        return semantic_name(name, 'panoptic_module')
    if name.startswith('backbone.layer') or re.match(r'backbone\.(conv|bn)1\.', name):
        return f'backbone.bottom_up.{detectron2_resnet_name(name.removeprefix("backbone."))}'
    ours, theirs = next(pair for pair in _BLENDMASK_UNITS if name.startswith(pair[0]))
    name = name.replace(ours, theirs)
    return _tower_name(name) if '_tower.' in name else name


_CENTERMASK2_UNITS = (
    (r'^roi_head\.mask_head\.upsample\.', 'roi_heads.mask_head.deconv.'),
    (r'^roi_head\.mask_head\.conv_logits\.', 'roi_heads.mask_head.predictor.'),
    (r'^roi_head\.mask_head\.attention\.', 'roi_heads.mask_head.spatialAtt.'),
    (r'^roi_head\.mask_head\.convs\.(\d)\.conv\.', 'roi_heads.mask_head.mask_fcn#.'),
    (r'^roi_head\.mask_iou_head\.fc_mask_iou\.', 'roi_heads.maskiou_head.maskiou.'),
    (r'^roi_head\.mask_iou_head\.convs\.(\d)\.', 'roi_heads.maskiou_head.maskiou_fcn#.'),
    (r'^roi_head\.mask_iou_head\.fcs\.(\d)\.', 'roi_heads.maskiou_head.maskiou_fc#.'),
)


def published_centermask2_name(name, first_level=3):
    """Our name of a tensor of CenterMask2 -> the published one.

    Args:
        name: ours.
        first_level: of the pyramid: 3, or 2 in panoptic models.
    """
    if name.startswith('semantic_head.'):
        return semantic_name(name, 'sem_seg_head')
    if name.startswith(('backbone.stage', 'backbone.stem')):
        return f'backbone.bottom_up.{published_vovnet_name(name.removeprefix("backbone."))}'
    for pattern, theirs in _CENTERMASK2_UNITS:
        match = re.match(pattern, name)
        if match:
            # theirs count from 1
            number = str(int(match[1]) + 1) if match.groups() else ''
            return theirs.replace('#', number) + name[match.end() :]
    return published_blendmask_name(name, first_level)
