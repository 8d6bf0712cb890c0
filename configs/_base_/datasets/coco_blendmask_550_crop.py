# A crop around an instance, then any short side from 440 to 594, long side at most 990; testing as
# without
_base_ = './coco_blendmask_550.py'

train_pipeline = [
    *_base_.train_pipeline[:3],
    dict(type='InstanceAwareCrop', size_range=(0.9, 0.9)),
    dict(_base_.train_pipeline[3], scales=[440, 594], max_size=990, sampling='range'),
    _base_.train_pipeline[4],
    dict(type='BoxesFromMasks'),
    *_base_.train_pipeline[5:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
