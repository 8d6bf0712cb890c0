# Panoptic CenterMask-Lite on VoVNetV2-19-slim from scratch, for small pictures: the instance model
# with a level P2, and a semantic branch as wide as published
_base_ = [
    './centermask_lite_V_19_slim_small.py',
    './centermask2_panoptic.py',
    './small_panoptic.py',
]

_panoptic = _base_.centermask2_panoptic
model = dict(
    data_preprocessor=_base_.small_panoptic_preprocessor,
    backbone=_panoptic['backbone'],
    # P2 to P5; the detection head has the last three
    neck=dict(in_channels=[112, 256, 384, 512], num_outs=4),
    semantic_head=dict(_panoptic['semantic_head'], in_channels=128),
    panoptic_fusion=dict(
        _panoptic['panoptic_fusion'], stuff_area_limit=_base_.small_stuff_area_limit
    ),
)
