# COCO for the original CenterMask: short side 800, long side at most 1333
_base_ = './coco_instances.py'

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='LoadPolygonAnnotations', with_bbox=True),
    # as published, boxes are clipped at the picture's own size and no more after the resize
    dict(type='BoxesToConvention', inclusive_boxes=_base_.inclusive_boxes, drop_empty=True),
    dict(
        type='ShortestEdgeResize',
        scales=[800],
        max_size=1333,
        rounding='truncate',
        clip_object_border=False,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='BoxesToConvention', inclusive_boxes=_base_.inclusive_boxes, clip=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='ShortestEdgeResize', scales=[800], max_size=1333, rounding='truncate'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

# 2 pictures on each of 8 GPUs
train_dataloader = dict(
    batch_size=2,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
# Published figures were made with 2 pictures on each of 8 GPUs (test_dataloader.batch_size=2) and
# with one on one GPU; a picture's result does not depend on it here (docs/centermask.md).
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
