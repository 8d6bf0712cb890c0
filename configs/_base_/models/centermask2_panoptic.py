# What "panoptic" in a published name of CenterMask2 means: a pyramid from P2 on, a semantic branch,
# and the fusion. A variable for a config that inherits this file beside a whole one, whose pyramid
# gets a width for C2, too:
#     model = dict(**_base_.centermask2_panoptic, neck=dict(in_channels=[...], num_outs=6))
_base_ = './semantic_fpn.py'

centermask2_panoptic = dict(
    data_preprocessor=dict(type='PanopticDataPreprocessor'),
    # the mask branch keeps P3 to P5, the detection head P3 to P7
    backbone=dict(out_indices=(0, 1, 2, 3)),
    semantic_head=_base_.semantic_fpn,
    panoptic_fusion=dict(
        type='PanopticFusion',
        num_things_classes=80,
        # on the root of p x centerness, not on the score of the mask
        instance_score_thr=0.5,
        overlap_thr=0.5,
        stuff_area_limit=4096,
    ),
)
