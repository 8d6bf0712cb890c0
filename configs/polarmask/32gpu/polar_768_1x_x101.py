# PolarMask X-101-64x4d, 1x, 32 GPUs. Published mask AP 32.6
_base_ = [
    '../../_base_/models/polarmask_x101_64x4d_fpn.py',
    '../../_base_/datasets/coco_polar_768.py',
    '../../_base_/schedules/polar_1x_32gpu.py',
    '../../_base_/default_runtime.py',
]

# 2 pictures on each of 32 GPUs
optim_wrapper = dict(optimizer=dict(lr=0.04))
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0 / 12, by_epoch=False, begin=0, end=2000),
    _base_.param_scheduler[1],
]
train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=64)
