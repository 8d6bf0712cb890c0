# PolarMask R-101, 1x, 32 GPUs. Published mask AP 30.4
_base_ = [
    '../../_base_/models/polarmask_r101_fpn.py',
    '../../_base_/datasets/coco_polar_768.py',
    '../../_base_/schedules/polar_1x_32gpu.py',
    '../../_base_/default_runtime.py',
]
