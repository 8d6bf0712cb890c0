# Five kinds of synthetic shapes for PolarMask
_base_ = './shapes_five.py'

train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(type='TracePolarContours'),
    dict(type='PackPolarInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
