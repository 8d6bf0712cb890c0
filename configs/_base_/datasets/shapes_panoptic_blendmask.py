# The synthetic shapes on stuff for BlendMask: also with the label map of things for the auxiliary
# loss
_base_ = './shapes_panoptic.py'

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='LoadThingSemantic'),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
