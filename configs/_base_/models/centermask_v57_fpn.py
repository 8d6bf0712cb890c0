_base_ = './centermask_v39_fpn.py'

model = dict(
    backbone=dict(
        arch='V-57',
        init_cfg=dict(checkpoint='pretrained/vovnet57_ese.pth'),
    )
)
