"""Everything with parameters, and what it needs to train and predict."""

from polarseg.models import layers, task_modules  # noqa: F401  (they register themselves)
from polarseg.models.backbones import DLA, MobileNetV2, ResNet, ResNeXt, VoVNet
from polarseg.models.data_preprocessor import PanopticDataPreprocessor
from polarseg.models.dense_heads import BlendMaskHead, FCOSHead, PolarMaskHead
from polarseg.models.detectors import BlendMask, CenterMask, PanopticFPN, PolarMask
from polarseg.models.losses import FCOSIoULoss, PolarIoULoss
from polarseg.models.mask_heads import Blender, DeepLabBasis, MaskIoUHead, ProtoNet, SAGMaskHead
from polarseg.models.roi_heads import AdaptiveRoIExtractor, CenterMaskRoIHead
from polarseg.models.seg_heads import PanopticFusion, SemSegFPNHead

__all__ = [
    'DLA',
    'AdaptiveRoIExtractor',
    'BlendMask',
    'BlendMaskHead',
    'Blender',
    'CenterMask',
    'CenterMaskRoIHead',
    'DeepLabBasis',
    'FCOSHead',
    'FCOSIoULoss',
    'MaskIoUHead',
    'MobileNetV2',
    'PanopticDataPreprocessor',
    'PanopticFPN',
    'PanopticFusion',
    'PolarIoULoss',
    'PolarMask',
    'PolarMaskHead',
    'ProtoNet',
    'ResNeXt',
    'ResNet',
    'SAGMaskHead',
    'SemSegFPNHead',
    'VoVNet',
]
