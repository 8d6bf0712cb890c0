"""Which of our configs a golden case of BlendMask belongs to, and its picture."""

import re
from pathlib import Path

from golden_tools import network_input
from mmengine.config import Config

CONFIGS = {
    'r50': 'R_50_1x',
    'r101_dcni3': 'R_101_dcni3_5x',
    '550_r50': '550_R_50_3x',
    'rt_r50': 'RT_R_50_4x_syncbn_shtw',
    'rt_bnhead': 'RT_R_50_4x_bn-head_syncbn_shtw',
    'dla34': 'DLA_34_syncbn_4x',
    'panoptic_r50': 'panoptic/R_50_1x',
}


def config_of(case_name, case, root):
    """By the case's name where it is in the table, else by the published config it names."""
    short = re.sub(r'^(layout_)?blendmask_', '', case_name)
    source = case.get('config') or case['source']['config']
    named = re.search(r'([\w-]+)\.yaml', source)
    assert short in CONFIGS or named, f'{case_name} names no config: {source!r}'
    folder = 'panoptic/' if 'panoptic' in source.lower() else ''
    stem = CONFIGS.get(short) or folder + named[1]
    return Config.fromfile(Path(root) / 'configs' / 'blendmask' / f'{stem}.py')


def single_picture(model, case, recipe):
    """The case's batch of one picture, with the size of the output."""
    divisor = case['preprocessing']['pad_to_multiple_of']
    assert divisor == model.data_preprocessor.pad_size_divisor
    batch = network_input(model, case, recipe, [case['image']], divisor)
    output, image = case['output_size'], case['image']
    (sample,) = batch['data_samples']
    sample.set_metainfo(
        dict(
            ori_shape=(output['height'], output['width']),
            scale_factor=(image['width'] / output['width'], image['height'] / output['height']),
        )
    )
    return batch
