# Test scale 400: the trained model on 640 x 384. Published mask AP 22.9
# No published config has this scale; it is taken as the input size times 0.5.
_base_ = '../4gpu/polar_768_1x_r50.py'

model = dict(data_preprocessor=dict(pad_size_divisor=32))

resize = dict(type='Resize', scale=(640, 384), keep_ratio=False)
test_pipeline = [resize if step['type'] == 'Resize' else step for step in _base_.test_pipeline]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
