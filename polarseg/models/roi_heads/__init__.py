"""What happens to regions of a feature pyramid."""

from polarseg.models.roi_heads.adaptive_roi_extractor import AdaptiveRoIExtractor
from polarseg.models.roi_heads.centermask_roi_head import CenterMaskRoIHead

__all__ = ['AdaptiveRoIExtractor', 'CenterMaskRoIHead']
