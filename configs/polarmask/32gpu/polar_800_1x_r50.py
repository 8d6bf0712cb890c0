# PolarMask R-50, 1x, 1333 x 800, 32 GPUs
_base_ = [
    '../../_base_/models/polarmask_r50_fpn.py',
    '../../_base_/datasets/coco_polar_800.py',
    '../../_base_/schedules/polar_1x_32gpu.py',
    '../../_base_/default_runtime.py',
]
