# COCO for PolarMask: 1280 x 768 without keeping the aspect ratio, as published
dataset_type = 'CocoInstanceDataset'
data_root = 'data/coco/'
backend_args = None

# The published +1 box convention; tools/train.py and tools/test.py carry a change of this one line
# (or --cfg-options inclusive_boxes=False) to every component that has a keyword of this name.
inclusive_boxes = True

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='DropTinyMasks', min_pixels=15, keep_empty=False),
    dict(type='Resize', scale=(1280, 768), keep_ratio=False, clip_object_border=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='BoxesToConvention', inclusive_boxes=inclusive_boxes),
    dict(type='TracePolarContours'),
    dict(type='PackPolarInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(1280, 768), keep_ratio=False),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        min_annotation_area=15,
        min_annotation_side=10,
        inclusive_boxes=inclusive_boxes,
        pipeline=train_pipeline,
        backend_args=backend_args,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
        backend_args=backend_args,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='CocoInstanceMetric',
    ann_file=data_root + 'annotations/instances_val2017.json',
    metric=['bbox', 'segm'],
    inclusive_boxes=inclusive_boxes,
    backend_args=backend_args,
)
test_evaluator = val_evaluator
