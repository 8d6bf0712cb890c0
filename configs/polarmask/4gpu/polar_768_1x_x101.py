# PolarMask X-101-64x4d, 1x, 2 pictures on each of 8 GPUs. Published mask AP 32.5
_base_ = [
    '../../_base_/models/polarmask_x101_64x4d_fpn.py',
    '../../_base_/datasets/coco_polar_768.py',
    '../../_base_/schedules/polar_1x.py',
    '../../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=2)
