# CenterMask X-101-32x8d, 2x, multi-scale training
# Published on val2017: mask AP 39.1, box AP 44.3
_base_ = [
    '../_base_/models/centermask_x101_32x8d_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_2x.py',
    '../_base_/default_runtime_iter.py',
]

# a longer and lower warm-up, as published
param_scheduler = [
    dict(type='ConstantLR', factor=0.2, by_epoch=False, begin=0, end=1001),
    _base_.param_scheduler[1],
]
