# PolarMask on VoVNetV2-19-slim from scratch, three levels, exact ray targets
_base_ = ['./polarmask_r18_small.py', './vovnet_v19_slim_scratch.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.scratch_backbone),
    # C3 to C5 instead of C2 to C5
    neck=dict(in_channels=[256, 384, 512], out_channels=128, start_level=0),
    bbox_head=dict(in_channels=128, feat_channels=128, norm_cfg=dict(type='GN', num_groups=32)),
)
