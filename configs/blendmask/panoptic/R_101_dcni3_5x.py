# Panoptic BlendMask R-101 with deformable convolutions in every third block, 5x
# Published on val2017: PQ 46.0, PQ of things 52.9, of stuff 35.5
_base_ = [
    '../../_base_/models/blendmask_panoptic_r101_fpn.py',
    '../../_base_/models/blendmask_dcni3.py',
    '../../_base_/datasets/coco_panoptic_blendmask_crop.py',
    '../../_base_/schedules/blendmask_5x.py',
    '../../_base_/default_runtime_iter.py',
]

model = _base_.blendmask_dcni3
# the long side ends at 1333 here, at 1440 with R-50, as published
train_pipeline = [
    *_base_.train_pipeline[:5],
    dict(_base_.train_pipeline[5], max_size=1333),
    *_base_.train_pipeline[6:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
