# What "lite" in a published name means, of either flavour. Two base files may not set the same
# name, so this is a variable, for a config that inherits this file beside a whole one:
#     model = _base_.centermask_lite
centermask_lite = dict(
    neck=dict(out_channels=128),
    bbox_head=dict(in_channels=128, feat_channels=128, stacked_convs=2),
    roi_head=dict(
        mask_roi_extractor=dict(out_channels=128),
        mask_head=dict(num_convs=2, in_channels=128, conv_out_channels=128),
        mask_iou_head=dict(num_convs=2, in_channels=128, conv_out_channels=128),
    ),
)
