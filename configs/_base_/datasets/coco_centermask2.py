# COCO for CenterMask2: one of six short sides in training, 800 in testing; continuous boxes
_base_ = './coco_centermask.py'

inclusive_boxes = False

train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='LoadPolygonAnnotations', with_bbox=True),
    dict(
        type='ShortestEdgeResize',
        scales=[640, 672, 704, 736, 768, 800],
        max_size=1333,
        rounding='half_up',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='BoxesToConvention', inclusive_boxes=inclusive_boxes, drop_empty=True),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='ShortestEdgeResize', scales=[800], max_size=1333, rounding='half_up'),
    _base_.test_pipeline[-1],
]
train_dataloader = dict(dataset=dict(inclusive_boxes=inclusive_boxes, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(inclusive_boxes=inclusive_boxes)
test_evaluator = val_evaluator
