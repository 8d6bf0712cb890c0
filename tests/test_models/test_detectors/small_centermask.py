"""A small CenterMask of either flavour."""

from polarseg.registry import MODELS

CHANNELS = 32
NMS = dict(type='nms', iou_threshold=0.6)
FLAVOURS = {
    'centermask2': (dict(), dict(), dict(), dict(sampling_ratio=0, aligned=True)),
    'original': (
        dict(
            norm_on_bbox=False,
            cls_normalizer='fg_and_images',
            sync_avg_factor=False,
            clip_boxes=True,
            inclusive_boxes=True,
        ),
        dict(
            inclusive_boxes=True,
            limit_crops=True,
            crop_min_side=1,
            area_rule='first_part',
            paste_rule='integer_box',
            clip_boxes=False,
        ),
        dict(sampler=dict(type='mmdet.PseudoSampler')),
        dict(sampling_ratio=2, aligned=False),
    ),
}


def config(flavour='centermask2', score_thr=1e-3, mask_scoring=True, classes=(3, 3), **options):
    """The model's; keywords beyond are those of the detector."""
    bbox_head, roi_head, roi_train_cfg, pooling = FLAVOURS[flavour]
    widths = dict(in_channels=CHANNELS, conv_out_channels=CHANNELS, num_convs=1)
    if mask_scoring:
        roi_head = dict(
            roi_head, mask_iou_head=dict(**widths, num_classes=classes[1], fc_out_channels=16)
        )
    return dict(
        type='CenterMask',
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[127.5] * 3, std=[64.0] * 3, pad_size_divisor=32
        ),
        backbone=dict(type='ResNet', depth=18, out_indices=(1, 2, 3)),
        neck=dict(type='FPN', in_channels=[128, 256, 512], out_channels=CHANNELS, num_outs=3),
        bbox_head=dict(
            type='FCOSHead',
            num_classes=3,
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            stacked_convs=1,
            strides=(8, 16, 32),
            assigner=dict(regress_ranges=[(-1, 32), (32, 64), (64, 1e8)]),
            **bbox_head,
        ),
        roi_head=dict(
            type='CenterMaskRoIHead',
            mask_roi_extractor=dict(
                roi_layer=dict(type='RoIAlign', output_size=14, **pooling),
                out_channels=CHANNELS,
            ),
            mask_head=dict(**widths, num_classes=classes[0]),
            **roi_head,
        ),
        train_cfg=dict(
            proposals=dict(score_thr=score_thr, nms=NMS, max_per_img=20), roi=roi_train_cfg
        ),
        test_cfg=dict(score_thr=score_thr, nms=NMS, max_per_img=20),
        **options,
    )


def build(*args, **options):
    """The model; arguments as for its config."""
    model = MODELS.build(config(*args, **options))
    model.init_weights()
    return model
