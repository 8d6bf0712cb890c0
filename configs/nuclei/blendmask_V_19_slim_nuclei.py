# BlendMask with VoVNetV2-19-slim on nuclei (docs/small_data.md)
#   python tools/train.py THIS_FILE --cfg-options data_root=DIR/
_base_ = [
    '../_base_/models/blendmask_V_19_slim_small.py',
    '../_base_/datasets/nuclei_blendmask.py',
    '../_base_/schedules/adamw_scratch_nuclei_4e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    bbox_head=dict(num_classes=1),
    basis_module=dict(num_classes=1),
    # hundreds of nuclei in a picture
    test_cfg=dict(nms_pre=4000, max_per_img=400),
)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=1, max_keep_ckpts=1))
randomness = dict(seed=0)
