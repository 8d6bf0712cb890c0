# mmdet's Mask R-CNN on VoVNetV2-19-slim from scratch, as wide as CenterMask-Lite (128 channels, two
# convolutions in the mask head), anchors half as large and proposals fewer than for COCO, as the
# pictures are small
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', './vovnet_v19_slim_scratch.py']

model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], bgr_to_rgb=False),
    backbone=dict(_delete_=True, **dict(_base_.scratch_backbone, out_indices=(0, 1, 2, 3))),
    neck=dict(in_channels=[112, 256, 384, 512], out_channels=128),
    rpn_head=dict(in_channels=128, feat_channels=128, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128),
        bbox_head=dict(in_channels=128),
        mask_roi_extractor=dict(out_channels=128),
        mask_head=dict(num_convs=2, in_channels=128, conv_out_channels=128),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=32)),
    ),
)
