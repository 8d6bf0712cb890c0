_base_ = './centermask_v39_fpn.py'

model = dict(
    backbone=dict(
        arch='V-19',
        init_cfg=dict(checkpoint='pretrained/vovnet19_ese.pth'),
    )
)
