# Short side one of six up to 550 in training, 550 in testing, long side at most 916
_base_ = './coco_blendmask.py'

train_pipeline = [
    dict(step, scales=[440, 462, 484, 506, 528, 550], max_size=916)
    if step['type'] == 'ShortestEdgeResize'
    else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scales=[550], max_size=916) if step['type'] == 'ShortestEdgeResize' else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
