# Nuclei for PolarMask: contours and mass centres in place of masks
_base_ = './nuclei.py'

train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(type='TracePolarContours'),
    dict(type='PackPolarInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
