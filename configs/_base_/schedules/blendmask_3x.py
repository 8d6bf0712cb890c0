# BlendMask: learning rate 0.01 for 16 pictures, 270,000 iterations, as CenterMask2
_base_ = './centermask2_3x.py'
