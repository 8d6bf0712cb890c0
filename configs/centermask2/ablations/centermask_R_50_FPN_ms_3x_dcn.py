# Modulated deformable convolutions in the 3x3 of every block of C3, C4, C5 of a ResNet
_base_ = '../centermask_R_50_FPN_ms_3x.py'

model = dict(
    backbone=dict(
        dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    )
)
