# CenterMask-Lite on VoVNetV2-19-slim from scratch, three levels, for small pictures
_base_ = ['./centermask2_v19_slim_fpn.py', './centermask_lite.py', './vovnet_v19_slim_scratch.py']

_lite = _base_.centermask_lite
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0]),
    backbone=dict(_delete_=True, **_base_.scratch_backbone),
    neck=dict(**_lite['neck'], add_extra_convs=False, relu_before_extra_convs=False, num_outs=3),
    bbox_head=dict(
        **_lite['bbox_head'],
        strides=[8, 16, 32],
        assigner=dict(regress_ranges=[(-1, 32), (32, 64), (64, 1e8)]),
    ),
    roi_head=dict(
        **{key: value for key, value in _lite['roi_head'].items() if key != 'mask_head'},
        # CenterMask2's attention starts with weights so large that from scratch it closes for good
        # over what looks alike inside and outside, such as the holes of rings
        mask_head=dict(**_lite['roi_head']['mask_head'], weight_init='original'),
    ),
    # at most 8 foreground regions of a picture, to be quick on a CPU, as for Mask R-CNN beside it
    train_cfg=dict(roi=dict(sampler=dict(num=32))),
    test_cfg=dict(max_per_img=100),
)
