# PolarMask R-18 (half width) from scratch on nuclei in COCO format, an hour of two CPU cores
#   python tools/train.py THIS_FILE --cfg-options data_root=DIR/
# Expects DIR/images, DIR/annotations/instances_train.json and instances_val.json (docs/nuclei.md).
# Most nuclei are smaller than 32 x 32 pixels, so pictures are enlarged twice.
_base_ = [
    '../../_base_/models/polarmask_r18_small.py',
    '../../_base_/datasets/shapes_polar.py',
    '../../_base_/schedules/adamw_scratch.py',
    '../../_base_/default_runtime.py',
]

model = dict(
    bbox_head=dict(num_classes=1),
    # hundreds of nuclei in a picture
    test_cfg=dict(nms_pre=4000, max_per_img=400),
)

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
    dict(type='TracePolarContours'),
    dict(type='PackPolarInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale_factor=2.0, keep_ratio=True),
    _base_.test_pipeline[-1],
]

train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img='images/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img='images/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json', max_dets=400)
test_evaluator = val_evaluator

max_epochs = 36
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_epochs),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=12)
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(
    logger=dict(interval=25),
    checkpoint=dict(interval=6, max_keep_ckpts=2),
)
