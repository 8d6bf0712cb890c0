# Persons of PIC. For each of train and val:
#   python tools/dataset_converters/pic_persons.py INSTANCES SEMANTIC \
#       data/pic/annotations/train_person.json --images data/pic/image/train
_base_ = './coco_blendmask.py'

data_root = 'data/pic/'
metainfo = dict(classes=('person',))

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/train_person.json',
        data_prefix=dict(img='image/train/'),
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/val_person.json',
        data_prefix=dict(img='image/val/'),
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val_person.json')
test_evaluator = val_evaluator
