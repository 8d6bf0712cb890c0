# Short side one of twelve up to 608 and long side at most 900 in training; 512 and 736 in testing
_base_ = './coco_blendmask.py'

train_pipeline = [
    dict(step, scales=list(range(256, 609, 32)), max_size=900)
    if step['type'] == 'ShortestEdgeResize'
    else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scales=[512], max_size=736) if step['type'] == 'ShortestEdgeResize' else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
