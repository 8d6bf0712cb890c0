# What "RT" and "shtw" in a published name mean: levels P3 to P5, one tower for classes and boxes, a
# convolution less before the bases. "syncbn": the backbone's norms learn, and nothing is frozen.
_base_ = './blendmask_r50_fpn.py'

model = dict(
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        norm_eval=False,
    ),
    neck=dict(add_extra_convs=False, relu_before_extra_convs=False, num_outs=3),
    bbox_head=dict(
        stacked_convs=0,
        stacked_share_convs=3,
        strides=[8, 16, 32],
        assigner=dict(regress_ranges=[(-1, 64), (64, 128), (128, 1e8)]),
    ),
    basis_module=dict(num_convs=2),
)
