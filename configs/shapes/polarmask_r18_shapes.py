# PolarMask R-18 (half width) from scratch on synthetic shapes: what tools/quickstart.sh trains
_base_ = [
    '../_base_/models/polarmask_r18_small.py',
    '../_base_/datasets/shapes_polar.py',
    '../_base_/schedules/adamw_scratch.py',
    '../_base_/default_runtime.py',
]

default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=3, max_keep_ckpts=2))

# the same run each time, as far as the machine allows
randomness = dict(seed=0)
