# The full profile of synthetic shapes (docs/shapes.md): eight classes, three of them no star
_base_ = './shapes_instances.py'

data_root = 'data/shapes_mixed/'
metainfo = dict(
    classes=('ellipse', 'polygon', 'star', 'blob', 'bar', 'crescent', 'ring', 'pair'),
)
_dataset = dict(data_root=data_root, metainfo=metainfo)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
