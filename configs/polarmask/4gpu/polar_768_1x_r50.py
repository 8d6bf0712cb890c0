# PolarMask R-50, 1x, 4 pictures on each of 4 GPUs. Published mask AP 29.2
_base_ = [
    '../../_base_/models/polarmask_r50_fpn.py',
    '../../_base_/datasets/coco_polar_768.py',
    '../../_base_/schedules/polar_1x.py',
    '../../_base_/default_runtime.py',
]
