_base_ = './centermask2_v39_fpn.py'

model = dict(
    backbone=dict(
        arch='V-99',
        init_cfg=dict(checkpoint='pretrained/vovnet99_ese.pth'),
    )
)
