# Can the model learn eight pictures by heart? A check of everything between loader and evaluator
# (docs/small_data.md)
_base_ = [
    '../_base_/models/centermask_lite_V_19_slim_small.py',
    '../_base_/datasets/shapes_eight.py',
    '../_base_/schedules/adamw_scratch_1000i.py',
    '../_base_/default_runtime_iter.py',
]

model = dict(
    bbox_head=dict(num_classes=5),
    roi_head=dict(
        # from scratch with CenterMask2's initial weights, the attention closes for good over what
        # looks alike inside and outside of an object, such as the hole of a ring
        mask_head=dict(num_classes=5, weight_init='original'),
        mask_iou_head=dict(num_classes=5),
    ),
)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=250, max_keep_ckpts=1))
randomness = dict(seed=0)
