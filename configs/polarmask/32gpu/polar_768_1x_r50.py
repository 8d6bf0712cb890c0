# PolarMask R-50, 1x, 32 GPUs. Published mask AP 29.1
_base_ = [
    '../../_base_/models/polarmask_r50_fpn.py',
    '../../_base_/datasets/coco_polar_768.py',
    '../../_base_/schedules/polar_1x_32gpu.py',
    '../../_base_/default_runtime.py',
]
