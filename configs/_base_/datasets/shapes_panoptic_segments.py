# The synthetic shapes on stuff for mmdet's panoptic models, in mmdet's pipeline: their instances
# come from the panoptic PNGs, too
_base_ = './shapes_panoptic.py'

dataset_type = 'polarseg.CocoPanopticDataset'
_things, _stuff = _base_.metainfo['classes'], _base_.metainfo['stuff_classes']
metainfo = dict(
    # in the order of the file
    classes=(*_things, *_stuff),
    thing_classes=_things,
    stuff_classes=_stuff,
)

train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='LoadPanopticAnnotations'),
    *_base_.train_pipeline[3:],
]
_dataset = dict(_delete_=True, type=dataset_type, data_root=_base_.data_root, metainfo=metainfo)
train_dataloader = dict(
    dataset=dict(
        **_dataset,
        ann_file='annotations/panoptic_train.json',
        data_prefix=dict(img='train/', seg='annotations/panoptic_train/'),
        # pictures without objects are trained on
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        **_dataset,
        ann_file='annotations/panoptic_val.json',
        data_prefix=dict(img='val/', seg='annotations/panoptic_val/'),
        test_mode=True,
        pipeline=_base_.test_pipeline,
    )
)
test_dataloader = val_dataloader
