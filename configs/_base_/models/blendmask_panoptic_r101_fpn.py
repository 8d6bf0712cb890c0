# Panoptic BlendMask with ResNet-101
_base_ = './blendmask_panoptic_r50_fpn.py'

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnet101_caffe'),
    )
)
