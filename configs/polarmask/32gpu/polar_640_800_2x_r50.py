# PolarMask R-50, 2x, multi-scale training, 32 GPUs. Published mask AP 30.5
_base_ = [
    '../../_base_/models/polarmask_r50_fpn.py',
    '../../_base_/datasets/coco_polar_640_800.py',
    '../../_base_/schedules/polar_2x_32gpu.py',
    '../../_base_/default_runtime.py',
]
