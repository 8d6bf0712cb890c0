# Panoptic BlendMask on VoVNetV2-19-slim from scratch, for small pictures: the instance model with a
# level P2, and a semantic branch as wide as published
_base_ = ['./blendmask_V_19_slim_small.py', './semantic_fpn.py', './small_panoptic.py']

model = dict(
    data_preprocessor=_base_.small_panoptic_preprocessor,
    backbone=dict(out_indices=(0, 1, 2, 3)),
    # P2 to P5; the detection head has the last three
    neck=dict(in_channels=[112, 256, 384, 512], num_outs=4),
    basis_module=dict(in_indices=(1, 2, 3)),
    semantic_head=dict(_base_.semantic_fpn, in_channels=128),
    panoptic_fusion=dict(
        type='PanopticFusion',
        num_things_classes=80,
        instance_score_thr=0.45,
        overlap_thr=0.4,
        stuff_area_limit=_base_.small_stuff_area_limit,
    ),
)
