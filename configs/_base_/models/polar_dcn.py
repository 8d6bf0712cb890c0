# What '_dcn2' in a published name means. Two base files may not set the same name, so these are
# variables, for a config that inherits this file beside a whole one:
#     model = _base_.polar_dcn
#     optim_wrapper = _base_.polar_dcn_optim_wrapper

# DCNv1 in the 3x3 of every block of C3, C4, C5, and modulated (v2) deformable towers in the head
polar_dcn = dict(
    backbone=dict(
        dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    ),
    bbox_head=dict(use_dcn=True, dcn_cfg=dict(type='DCNv2', deform_groups=1)),
)

# The published optimiser told norm layers by their names, so the GN biases of these towers (and
# only these) counted as plain biases. So did the biases of offset convolutions, which mmengine
# treats apart.
polar_dcn_optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'gn.bias': dict(lr_mult=2.0, decay_mult=0.0),
            'conv_offset.bias': dict(lr_mult=2.0, decay_mult=0.0),
        }
    )
)
