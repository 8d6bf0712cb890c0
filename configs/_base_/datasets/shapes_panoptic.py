# Five kinds of synthetic shapes on five kinds of stuff (docs/panoptic.md):
#   python tools/dataset_converters/make_shapes.py data/shapes_panoptic --profile panoptic \
#       --size 128 --train 1200 --val 200
_base_ = './shapes_five.py'

dataset_type = 'CocoPanopticInstanceDataset'
data_root = 'data/shapes_panoptic/'
metainfo = dict(
    classes=('ellipse', 'polygon', 'star', 'crescent', 'ring'),
    stuff_classes=('sky', 'grass', 'water', 'sand', 'bricks'),
)

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='LoadPanopticLabels'),
    *_base_.train_pipeline[2:],
]
_dataset = dict(type=dataset_type, data_root=data_root, metainfo=metainfo)
train_dataloader = dict(
    dataset=dict(
        **_dataset,
        panoptic_file='annotations/panoptic_train.json',
        data_prefix=dict(panoptic='annotations/panoptic_train/'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        **_dataset,
        panoptic_file='annotations/panoptic_val.json',
        data_prefix=dict(panoptic='annotations/panoptic_val/'),
    )
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(
        type='CocoPanopticQualityMetric',
        ann_file=data_root + 'annotations/panoptic_val.json',
        seg_prefix=data_root + 'annotations/panoptic_val/',
    ),
    dict(
        type='CocoInstanceMetric',
        ann_file=data_root + 'annotations/instances_val.json',
        metric=['bbox', 'segm'],
    ),
]
test_evaluator = val_evaluator
