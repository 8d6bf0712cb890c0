# What "dconv" (original) and "dcn" (CenterMask2) in a published name mean: modulated deformable
# convolutions in every 3x3 layer of stages 3 to 5 of a VoVNet. A variable for a config that
# inherits this file beside a whole one:
#     model = _base_.centermask_dcn
centermask_dcn = dict(
    backbone=dict(
        dcn=dict(type='DCNv2', deform_groups=1),
        stage_with_dcn=(False, True, True, True),
    )
)
