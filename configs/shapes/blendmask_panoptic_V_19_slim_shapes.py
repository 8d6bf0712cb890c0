# Panoptic BlendMask on five kinds of synthetic shapes on five kinds of stuff (docs/panoptic.md)
_base_ = [
    '../_base_/models/blendmask_panoptic_V_19_slim_small.py',
    '../_base_/datasets/shapes_panoptic_blendmask.py',
    '../_base_/schedules/adamw_scratch.py',
    '../_base_/default_runtime.py',
]

model = dict(
    bbox_head=dict(num_classes=5),
    basis_module=dict(num_classes=5),
    semantic_head=dict(num_stuff_classes=5),
    panoptic_fusion=dict(num_things_classes=5),
)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=3, max_keep_ckpts=1))
randomness = dict(seed=0)
