# Panoptic FPN R-101, 36 epochs.
# On val2017 BlendMask's authors report for theirs: PQ 43.0, PQ of things 49.7, of stuff 32.9,
# SQ 80.0, RQ 52.1, mIoU 44.5, box AP 42.4, thing AP 38.5
_base_ = './panoptic-fpn_r50_fpn_ms-3x_coco.py'

model = dict(
    backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'))
)
