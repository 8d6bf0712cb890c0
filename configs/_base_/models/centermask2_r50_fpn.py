# CenterMask2 with ResNet-50: what differs from the original (docs/centermask.md has the table).
# inclusive_boxes is set for all components at once by the data config.
_base_ = './centermask_r50_fpn.py'

frozen_norm = dict(type='BN', requires_grad=False, eps=1e-5)

model = dict(
    data_preprocessor=dict(mean=[103.530, 116.280, 123.675]),
    backbone=dict(
        norm_cfg=frozen_norm,
        init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet50_caffe'),
    ),
    bbox_head=dict(
        norm_on_bbox=True,
        cls_normalizer='fg',
        sync_avg_factor=True,
        clip_boxes=False,
        inclusive_boxes=False,
        loss_bbox=dict(eps=0.0),
    ),
    roi_head=dict(
        mask_roi_extractor=dict(
            # as many samples as the region is large
            roi_layer=dict(sampling_ratio=0, aligned=True),
            inclusive_boxes=False,
        ),
        mask_head=dict(weight_init='centermask2'),
        mask_iou_head=dict(weight_init='centermask2'),
        inclusive_boxes=False,
        limit_crops=False,
        crop_min_side=0.1,
        area_rule='all_parts',
        paste_rule='half_pixel',
        clip_boxes=True,
    ),
    train_cfg=dict(
        proposals=dict(score_thr=0.05, sqrt_scores=True),
        roi=dict(sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25)),
    ),
    test_cfg=dict(score_thr=0.05, sqrt_scores=True),
)
