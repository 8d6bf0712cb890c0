# 1333 x 800, padded to 1408 x 896
_base_ = './coco_polar_768.py'

resize = dict(type='Resize', scale=(1333, 800), keep_ratio=False, clip_object_border=False)
train_pipeline = [resize if step['type'] == 'Resize' else step for step in _base_.train_pipeline]
test_pipeline = [resize if step['type'] == 'Resize' else step for step in _base_.test_pipeline]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
