# Mask R-CNN R-50 on short sides of 440 to 550, 36 epochs.
# BlendMask's authors report 35.3 mask AP, 39.1 box AP on val2017
_base_ = './mask-rcnn_r50-caffe_fpn_ms-poly-3x_coco.py'

train_pipeline = [
    dict(step, scales=[(916, side) for side in (440, 462, 484, 506, 528, 550)])
    if step['type'] == 'RandomChoiceResize'
    else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=(916, 550)) if step['type'] == 'Resize' else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
