# BlendMask with DLA-34: levels P3 to P5, but towers and bases as deep as those of ResNet-50. The
# input is normalised as there, although the backbone's weights come from RGB pictures divided by a
# standard deviation.
_base_ = './blendmask_rt_r50_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='DLA',
        depth=34,
        out_indices=(1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='http://dl.yf.io/dla/models/imagenet/dla34-ba72cf86.pth',
        ),
    ),
    neck=dict(in_channels=[128, 256, 512]),
    bbox_head=dict(stacked_convs=4, stacked_share_convs=0),
    basis_module=dict(num_convs=3),
)
