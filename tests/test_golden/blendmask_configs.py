"""Which of our configs a golden case of BlendMask belongs to."""

import re
from pathlib import Path

from mmengine.config import Config

CONFIGS = {
    'r50': 'R_50_1x',
    'r101_dcni3': 'R_101_dcni3_5x',
    '550_r50': '550_R_50_3x',
    'rt_r50': 'RT_R_50_4x_syncbn_shtw',
    'rt_bnhead': 'RT_R_50_4x_bn-head_syncbn_shtw',
    'dla34': 'DLA_34_syncbn_4x',
}


def config_of(case_name, case, root):
    """By the case's name where it is in the table, else by the published config it names."""
    short = re.sub(r'^(layout_)?blendmask_', '', case_name)
    source = case.get('config') or case['source']['config']
    named = re.search(r'([\w-]+)\.yaml', source)
    assert short in CONFIGS or named, f'{case_name} names no config: {source!r}'
    stem = CONFIGS.get(short) or named[1]
    return Config.fromfile(Path(root) / 'configs' / 'blendmask' / f'{stem}.py')
