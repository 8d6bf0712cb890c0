# Mask R-CNN R-101, 24 epochs. CenterMask's authors report 37.8 mask AP, 42.2 box AP on val2017
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50-caffe_fpn_ms-poly-2x_coco.py'

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnet101_caffe'),
    )
)
