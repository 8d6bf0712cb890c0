# What "dcni3" in a published name means: modulated deformable convolutions in the 3x3 of every
# third block of C3, C4, C5, from the first on. A variable for a config that inherits this file
# beside a whole one:
#     model = _base_.blendmask_dcni3
blendmask_dcni3 = dict(
    backbone=dict(
        dcn=dict(type='DCNv2', deform_groups=1),
        stage_with_dcn=(False, True, True, True),
        dcn_interval=3,
    )
)
