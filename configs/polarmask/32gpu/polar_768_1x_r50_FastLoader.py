# PolarMask R-50 with contours thinned to 360..719 points, as the legacy FastLoader did.
# As published this config trains masks turned by a quarter (its targets kept the legacy ray order
# after the head had left it); here the thinning goes with today's rays.
_base_ = './polar_768_1x_r50.py'

train_pipeline = [
    dict(type='TracePolarContours', thin_above=360)
    if step['type'] == 'TracePolarContours'
    else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
