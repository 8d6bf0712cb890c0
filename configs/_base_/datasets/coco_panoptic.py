# COCO panoptic: instances as for CenterMask2, and labels of 53 kinds of stuff from panoptic PNGs
_base_ = './coco_centermask2.py'

dataset_type = 'CocoPanopticInstanceDataset'
data_root = 'data/coco/'

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='LoadPanopticLabels'),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        panoptic_file='annotations/panoptic_train2017.json',
        data_prefix=dict(panoptic='annotations/panoptic_train2017/'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        panoptic_file='annotations/panoptic_val2017.json',
        data_prefix=dict(panoptic='annotations/panoptic_val2017/'),
    )
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(
        type='CocoPanopticQualityMetric',
        ann_file=data_root + 'annotations/panoptic_val2017.json',
        seg_prefix=data_root + 'annotations/panoptic_val2017/',
    ),
    _base_.val_evaluator,
]
test_evaluator = val_evaluator
