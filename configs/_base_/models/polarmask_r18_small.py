# A small PolarMask that trains from scratch on a CPU in minutes: ResNet-18 of half width, three
# levels, two convolutions of 64 channels in each tower, exact ray targets, native box geometry.
_base_ = './polarmask_r50_fpn.py'

model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], pad_size_divisor=32),
    backbone=dict(
        depth=18,
        base_channels=32,
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
        init_cfg=None,
    ),
    neck=dict(
        in_channels=[32, 64, 128, 256],
        out_channels=64,
        add_extra_convs=False,
        relu_before_extra_convs=False,
        num_outs=3,
    ),
    bbox_head=dict(
        num_classes=3,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        strides=[8, 16, 32],
        ray_mode='exact',
        inclusive_boxes=False,
        assigner=dict(regress_ranges=[(-1, 32), (32, 64), (64, 1e8)]),
        norm_cfg=dict(type='GN', num_groups=16),
    ),
)
