# CenterMask X-101-32x8d, 1x, short side 800
# No result was published
_base_ = [
    '../_base_/models/centermask_x101_32x8d_fpn.py',
    '../_base_/datasets/coco_centermask.py',
    '../_base_/schedules/centermask_1x.py',
    '../_base_/default_runtime_iter.py',
]
