# Long schedules: a crop around an instance, then any short side from 640 to 864, long side at most
# 1440; testing as without
_base_ = './coco_blendmask.py'

train_pipeline = [
    *_base_.train_pipeline[:3],
    dict(type='InstanceAwareCrop', size_range=(0.9, 0.9)),
    dict(_base_.train_pipeline[3], scales=[640, 864], max_size=1440, sampling='range'),
    _base_.train_pipeline[4],
    # those of instances that the crop has cut
    dict(type='BoxesFromMasks'),
    *_base_.train_pipeline[5:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
