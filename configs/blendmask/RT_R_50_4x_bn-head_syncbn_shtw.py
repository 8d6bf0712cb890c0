# BlendMask-RT R-50, 4x, with batch norms in the tower, one for each level
# Published on val2017: mask AP 35.1, box AP 39.3
_base_ = './RT_R_50_4x_syncbn_shtw.py'

model = dict(bbox_head=dict(norm_cfg=dict(_delete_=True, type='SyncBN'), norm_per_level=True))
