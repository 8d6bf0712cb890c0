# Panoptic FPN R-50, 36 epochs, as mmdet has it; loading and metric are ours, as mmdet's need
# panopticapi, which is not on the package index. Results hold instances and semantic map too, for
# AP and mIoU: rcnn has the thresholds of a Mask R-CNN, and those of mmdet's Panoptic FPN choose
# what is fused.
# On val2017 BlendMask's authors report for theirs: PQ 41.5, PQ of things 48.3, of stuff 31.2,
# SQ 79.1, RQ 50.5, mIoU 42.9, box AP 40.0, thing AP 36.5
_base_ = 'mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_ms-3x_coco.py'

model = dict(
    type='polarseg.PanopticFPN',
    test_cfg=dict(
        rcnn=dict(score_thr=0.05, nms=dict(class_agnostic=False)),
        panoptic=dict(instance_score_thr=0.6, nms=dict(type='nms', iou_threshold=0.5)),
    ),
)

train_pipeline = [
    _base_.train_pipeline[0],
    dict(_base_.train_pipeline[1], type='polarseg.LoadPanopticAnnotations'),
    *_base_.train_pipeline[2:],
]
# without annotations, which the metric reads itself
test_pipeline = [*_base_.test_pipeline[:2], _base_.test_pipeline[3]]
dataset_type = 'polarseg.CocoPanopticDataset'
train_dataloader = dict(dataset=dict(type=dataset_type, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type=dataset_type, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [
    dict(
        type='polarseg.CocoPanopticQualityMetric',
        ann_file=_base_.data_root + 'annotations/panoptic_val2017.json',
        seg_prefix=_base_.data_root + 'annotations/panoptic_val2017/',
    ),
    dict(
        type='polarseg.CocoInstanceMetric',
        ann_file=_base_.data_root + 'annotations/instances_val2017.json',
        metric=['bbox', 'segm'],
    ),
]
test_evaluator = val_evaluator
