"""Which of our configs a golden case of CenterMask belongs to."""

import re
from pathlib import Path

from mmengine.config import Config

# original flavour: cases centermask_orig_NAME below configs/centermask
ORIGINAL = {
    'r50': 'centermask_R_50_FPN_ms_3x',
    'v39': 'centermask_V_39_eSE_FPN_ms_3x',
    'lite_v39': 'centermask_V_39_eSE_FPN_lite_res600_ms_bs16_4x',
}
# cases centermask2_NAME below configs/centermask2
CENTERMASK2 = {
    'r50': 'centermask_R_50_FPN_ms_3x',
    'x101': 'centermask_X_101_FPN_ms_3x',
    'v39': 'centermask_V_39_eSE_FPN_ms_3x',
    'v57': 'centermask_V_57_eSE_FPN_ms_3x',
    'v99': 'centermask_V_99_eSE_FPN_ms_3x',
    'lite_v19slim': 'centermask_lite_V_19_slim_eSE_FPN_ms_4x',
    'lite_v19slimdw': 'centermask_lite_V_19_slim_dw_eSE_FPN_ms_4x',
    'lite_mv2': 'centermask_lite_Mv2_FPN_ms_4x',
}


def is_original(case_name):
    return 'centermask_orig' in case_name


def config_of(case_name, case, root):
    """By the case's name where it is in the tables, else by the published config it names."""
    short = re.sub(r'^(layout_)?centermask(2|_orig)_', '', case_name)
    folder, names = ('centermask', ORIGINAL) if is_original(case_name) else ('', CENTERMASK2)
    named = re.search(r'(\w+)\.yaml', case['source'])
    assert short in names or named, f'{case_name} names no config: {case["source"]!r}'
    stem = names.get(short) or named[1]
    return Config.fromfile(Path(root) / 'configs' / (folder or 'centermask2') / f'{stem}.py')
