# Original CenterMask: learning rate 0.01 for 16 pictures, 90,000 iterations
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001),
    # every bias, those of norm layers and of offset convolutions included, which mmengine treats
    # apart: twice the rate, no decay. Frozen norms are no parameters of the optimizer.
    paramwise_cfg=dict(
        bias_lr_mult=2.0,
        bias_decay_mult=0.0,
        custom_keys={
            'gn.bias': dict(lr_mult=2.0, decay_mult=0.0),
            'conv_offset.bias': dict(lr_mult=2.0, decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    # 500 iterations at a third: the last one of a warm-up has the full rate already
    dict(type='ConstantLR', factor=1.0 / 3, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=90000, milestones=[60000, 80000]),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=90000, val_interval=10000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
