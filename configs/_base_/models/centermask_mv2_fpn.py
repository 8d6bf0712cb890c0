# MobileNetV2 of width 1. Its convolutions all train, its norms are frozen.
_base_ = './centermask_r50_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=False, eps=0),
        norm_eval=True,
        # written from torchvision's file by a converter (docs/centermask.md)
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/mobilenet_v2.pth'),
    ),
    neck=dict(in_channels=[32, 96, 320]),
)
