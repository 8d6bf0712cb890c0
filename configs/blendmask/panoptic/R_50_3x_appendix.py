# Panoptic BlendMask R-50, 3x, with the thresholds in the text of the paper's appendix, for its
# table: PQ 42.5, SQ 80.1, RQ 51.6, mIoU 43.5, box AP 41.8, thing AP 37.2
_base_ = './R_50_3x.py'

model = dict(panoptic_fusion=dict(instance_score_thr=0.2, overlap_thr=0.4))
