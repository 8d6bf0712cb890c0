# BlendMask on VoVNetV2-19-slim from scratch, as wide and deep as CenterMask-Lite (128 channels, two
# convolutions in towers and before the bases), three levels, for small pictures
_base_ = ['./blendmask_r50_fpn.py', './vovnet_v19_slim_scratch.py']

model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0]),
    backbone=dict(_delete_=True, **_base_.scratch_backbone),
    neck=dict(
        in_channels=[256, 384, 512],
        out_channels=128,
        add_extra_convs=False,
        relu_before_extra_convs=False,
        num_outs=3,
    ),
    bbox_head=dict(
        in_channels=128,
        feat_channels=128,
        stacked_convs=2,
        strides=[8, 16, 32],
        assigner=dict(regress_ranges=[(-1, 32), (32, 64), (64, 1e8)]),
    ),
    basis_module=dict(in_channels=128, num_convs=2, norm_cfg=dict(type='BN')),
)
