# COCO 2017 instances as the published systems see them: what their data configs have in common.
# Those set the pipelines, the batch size and the sampler.
dataset_type = 'CocoInstanceDataset'
data_root = 'data/coco/'
backend_args = None

# The published +1 box convention; tools/train.py and tools/test.py carry a change of this one line
# (or --cfg-options inclusive_boxes=False) to every component that has a keyword of this name.
inclusive_boxes = True

train_dataloader = dict(
    num_workers=2,
    persistent_workers=True,
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True),
        inclusive_boxes=inclusive_boxes,
        backend_args=backend_args,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        backend_args=backend_args,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='CocoInstanceMetric',
    ann_file=data_root + 'annotations/instances_val2017.json',
    metric=['bbox', 'segm'],
    inclusive_boxes=inclusive_boxes,
    backend_args=backend_args,
)
test_evaluator = val_evaluator
