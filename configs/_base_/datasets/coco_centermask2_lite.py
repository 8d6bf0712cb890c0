# CenterMask2-Lite: short side 580 or 600, 600 in testing, long side at most 1000
_base_ = './coco_centermask2.py'

train_pipeline = [
    dict(step, scales=[580, 600], max_size=1000) if step['type'] == 'ShortestEdgeResize' else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scales=[600], max_size=1000) if step['type'] == 'ShortestEdgeResize' else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
