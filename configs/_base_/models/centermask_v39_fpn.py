# VoVNetV2-39. Its convolutions all train, its norms are frozen.
_base_ = './centermask_r50_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='VoVNet',
        arch='V-39',
        out_indices=(1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=False, eps=0),
        norm_eval=True,
        # written from the authors' or timm's file by a converter (docs/centermask.md)
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vovnet39_ese.pth'),
    ),
    neck=dict(in_channels=[512, 768, 1024]),
)
