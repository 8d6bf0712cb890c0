# 1333 x (640 .. 800) in training, 1333 x 800 in testing
_base_ = './coco_polar_800.py'

resize = dict(
    type='RandomResize',
    scale=[(1333, 640), (1333, 800)],
    keep_ratio=False,
    clip_object_border=False,
)
train_pipeline = [resize if step['type'] == 'Resize' else step for step in _base_.train_pipeline]

# one picture on each of 32 GPUs
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline))
