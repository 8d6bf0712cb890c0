# COCO for PolarMask: 1280 x 768 without keeping the aspect ratio, as published
_base_ = './coco_instances.py'

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='DropTinyMasks', min_pixels=15, keep_empty=False),
    dict(type='Resize', scale=(1280, 768), keep_ratio=False, clip_object_border=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='BoxesToConvention', inclusive_boxes=_base_.inclusive_boxes),
    dict(type='TracePolarContours'),
    dict(type='PackPolarInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='Resize', scale=(1280, 768), keep_ratio=False),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

train_dataloader = dict(
    batch_size=4,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        filter_cfg=dict(min_size=32),
        min_annotation_area=15,
        min_annotation_side=10,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
