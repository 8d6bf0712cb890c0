# Nuclei in COCO format (docs/nuclei.md): DIR/images, DIR/annotations/instances_{train,val}.json
# Most nuclei are smaller than 32 x 32 pixels, so pictures are enlarged twice.
_base_ = './shapes_instances.py'

data_root = 'data/nuclei/'
metainfo = dict(classes=('nucleus',))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    # crops before enlarging: large pictures hold hundreds of masks
    dict(type='RandomCrop', crop_size=(128, 128), allow_negative_crop=True),
    dict(type='DropTinyMasks', min_pixels=10),
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(
        type='RandomFlip',
        prob=[0.25, 0.25, 0.25],
        direction=['horizontal', 'vertical', 'diagonal'],
    ),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale_factor=2.0, keep_ratio=True),
    _base_.test_pipeline[-1],
]

_dataset = dict(data_root=data_root, metainfo=metainfo, data_prefix=dict(img='images/'))
train_dataloader = dict(batch_size=4, dataset=dict(**_dataset, pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, dataset=dict(**_dataset, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json', max_dets=400)
test_evaluator = val_evaluator
