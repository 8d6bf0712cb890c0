# As YOLACT does: one weight of each base for the whole instance, without softmax
_base_ = '../R_50_1x.py'

model = dict(
    bbox_head=dict(top_channels=4),
    blender=dict(attention_size=1, softmax=False),
)
