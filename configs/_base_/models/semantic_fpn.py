# The semantic branch of the published panoptic models, of BlendMask and of CenterMask2. A variable,
# for configs that inherit this file beside a whole one:
#     model = dict(semantic_head=_base_.semantic_fpn)
semantic_fpn = dict(
    type='SemSegFPNHead',
    num_stuff_classes=53,
    in_channels=256,
    inner_channels=128,
    # P2 to P5
    start_level=0,
    end_level=4,
    norm_cfg=dict(type='GN', num_groups=32),
    loss_weight=0.5,
)
