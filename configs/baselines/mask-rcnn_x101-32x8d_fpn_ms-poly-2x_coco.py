# Mask R-CNN X-101-32x8d, 24 epochs.
# CenterMask's authors report 38.9 mask AP, 43.7 box AP on val2017 for theirs
_base_ = 'mmdet::mask_rcnn/mask-rcnn_x101-32x8d_fpn_ms-poly-1x_coco.py'

# mmdet's 2x
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=24, milestones=[16, 22], gamma=0.1),
]
train_cfg = dict(max_epochs=24)
