# Mask R-CNN R-50, 36 epochs. On val2017 CenterMask's authors report 36.5 mask AP, 40.5 box AP,
# BlendMask's 37.2 and 41.0
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50-caffe_fpn_ms-poly-3x_coco.py'

# mmdet's file ends the schedule after epoch 24, before the steps at 28 and 34
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=36, milestones=[28, 34], gamma=0.1),
]
