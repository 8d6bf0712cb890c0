# Can the model learn eight pictures by heart? A check of everything between loader and evaluator:
#   python tools/dataset_converters/make_shapes.py data/shapes_eight --profile simple --size 128 \
#       --categories ellipse polygon star crescent ring --train 8 --val 1
#   python tools/train.py THIS_FILE
# Evaluates on the pictures that it has been trained on.
_base_ = './centermask_lite_V_19_slim_shapes.py'

data_root = 'data/shapes_eight/'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=_base_.image_size, keep_ratio=True),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_train.json')
test_evaluator = val_evaluator

iterations = 1000
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=iterations, eta_min=1e-5),
]
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations // 4
)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=iterations // 4, max_keep_ckpts=1))
log_processor = dict(by_epoch=False)
