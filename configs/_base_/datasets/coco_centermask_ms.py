# Short side any length from 640 to 800 in training, 800 in testing
_base_ = './coco_centermask.py'

train_pipeline = [
    dict(step, scales=[640, 800], sampling='range')
    if step['type'] == 'ShortestEdgeResize'
    else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
