# COCO for BlendMask: as for CenterMask2, and the label map of things for the auxiliary loss
_base_ = './coco_centermask2.py'

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='LoadThingSemantic'),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
