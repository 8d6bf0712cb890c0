# CenterMask X-101-32x8d, 3x, multi-scale training
# Published on val2017: mask AP 39.1, box AP 44.4
_base_ = [
    '../_base_/models/centermask_x101_32x8d_fpn.py',
    '../_base_/datasets/coco_centermask_ms.py',
    '../_base_/schedules/centermask_3x.py',
    '../_base_/default_runtime_iter.py',
]
