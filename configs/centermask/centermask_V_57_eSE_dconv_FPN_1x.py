# CenterMask V2-57 with deformable convolutions, 1x, short side 800
# No result was published
_base_ = [
    '../_base_/models/centermask_v57_fpn.py',
    '../_base_/models/centermask_dcn.py',
    '../_base_/datasets/coco_centermask.py',
    '../_base_/schedules/centermask_1x.py',
    '../_base_/default_runtime_iter.py',
]

model = _base_.centermask_dcn
