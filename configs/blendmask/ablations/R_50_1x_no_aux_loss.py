# Without the auxiliary loss, and so without label maps of things
_base_ = '../R_50_1x.py'

model = dict(basis_module=dict(num_classes=None))
train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'LoadThingSemantic']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
