# Panoptic BlendMask on VoVNetV2-19-slim from scratch, for small pictures: the instance model with a
# level P2, and a semantic branch as wide as published
_base_ = ['./blendmask_V_19_slim_small.py', './semantic_fpn.py']

model = dict(
    data_preprocessor=dict(
        _delete_=True,
        type='PanopticDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[64.0, 64.0, 64.0],
        bgr_to_rgb=False,
        pad_size_divisor=32,
    ),
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
        # the published 4,096 are 1 of 75 pixels of a picture of 640 x 480; here of 128 x 128
        stuff_area_limit=128 * 128 // 75,
    ),
)
