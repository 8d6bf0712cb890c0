"""The semantic branch of panoptic models, and how it is put together with the instances."""

from polarseg.models.seg_heads.panoptic_fusion import PanopticFusion
from polarseg.models.seg_heads.sem_seg_fpn_head import SemSegFPNHead

__all__ = ['PanopticFusion', 'SemSegFPNHead']
