# Eight pictures of five kinds of shapes, to learn by heart; evaluates on the same eight:
#   python tools/dataset_converters/make_shapes.py data/shapes_eight --profile simple --size 128 \
#       --categories ellipse polygon star crescent ring --train 8 --val 1
_base_ = './shapes_five.py'

data_root = 'data/shapes_eight/'
# without flips
train_pipeline = [*_base_.train_pipeline[:3], _base_.train_pipeline[-1]]
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
