# Five kinds of synthetic shapes, two of which are not star-convex (docs/small_data.md):
#   python tools/dataset_converters/make_shapes.py data/shapes_five --profile simple --size 128 \
#       --categories ellipse polygon star crescent ring --train 1200 --val 200
_base_ = './shapes_instances.py'

data_root = 'data/shapes_five/'
metainfo = dict(classes=('ellipse', 'polygon', 'star', 'crescent', 'ring'))
_dataset = dict(data_root=data_root, metainfo=metainfo)
train_dataloader = dict(dataset=_dataset)
val_dataloader = dict(dataset=_dataset)
test_dataloader = dict(dataset=_dataset)
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
