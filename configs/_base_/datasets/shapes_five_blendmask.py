# Five kinds of synthetic shapes for BlendMask: with the label map of things for the auxiliary loss
_base_ = './shapes_five.py'

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='LoadThingSemantic'),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
