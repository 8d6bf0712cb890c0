# What "550" in a published name means: levels P3 to P6, one tower for classes and boxes, and a
# convolution less before the bases
_base_ = './blendmask_r50_fpn.py'

model = dict(
    neck=dict(num_outs=4),
    bbox_head=dict(
        stacked_convs=0,
        stacked_share_convs=3,
        strides=[8, 16, 32, 64],
        assigner=dict(regress_ranges=[(-1, 64), (64, 128), (128, 256), (256, 1e8)]),
    ),
    basis_module=dict(num_convs=2),
)
