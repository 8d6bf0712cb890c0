_base_ = './centermask2_v39_fpn.py'

model = dict(
    backbone=dict(
        arch='V-19-slim-dw',
        init_cfg=dict(checkpoint='pretrained/vovnet19_ese_slim_dw.pth'),
    ),
    neck=dict(in_channels=[256, 384, 512]),
)
