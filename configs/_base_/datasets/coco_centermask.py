# COCO for the original CenterMask: short side 800, long side at most 1333
dataset_type = 'CocoInstanceDataset'
data_root = 'data/coco/'
backend_args = None

# The published +1 box convention; tools/train.py and tools/test.py carry a change of this one line
# (or --cfg-options inclusive_boxes=False) to every component that has a keyword of this name.
inclusive_boxes = True

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='LoadPolygonAnnotations', with_bbox=True),
    # as published, boxes are clipped at the picture's own size and no more after the resize
    dict(type='BoxesToConvention', inclusive_boxes=inclusive_boxes, drop_empty=True),
    dict(
        type='ShortestEdgeResize',
        scales=[800],
        max_size=1333,
        rounding='truncate',
        clip_object_border=False,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='BoxesToConvention', inclusive_boxes=inclusive_boxes, clip=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='ShortestEdgeResize', scales=[800], max_size=1333, rounding='truncate'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

# 2 pictures on each of 8 GPUs
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True),
        inclusive_boxes=inclusive_boxes,
        pipeline=train_pipeline,
        backend_args=backend_args,
    ),
)
# Published figures were made with 2 pictures on each of 8 GPUs (test_dataloader.batch_size=2) and
# with one on one GPU; a picture's result does not depend on it here (docs/centermask.md).
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
