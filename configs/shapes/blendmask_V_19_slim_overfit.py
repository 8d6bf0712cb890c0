# Can the model learn eight pictures by heart? A check of everything between loader and evaluator
# (docs/small_data.md)
_base_ = [
    '../_base_/models/blendmask_V_19_slim_small.py',
    '../_base_/datasets/shapes_eight.py',
    '../_base_/schedules/adamw_scratch_1000i.py',
    '../_base_/default_runtime_iter.py',
]

model = dict(bbox_head=dict(num_classes=5), basis_module=dict(num_classes=5))
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='LoadThingSemantic'),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=250, max_keep_ckpts=1))
randomness = dict(seed=0)
