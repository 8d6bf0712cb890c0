"""Networks that turn pictures into feature maps."""

from polarseg.models.backbones.dla import DLA, DLATree
from polarseg.models.backbones.mobilenet_v2 import MobileNetV2
from polarseg.models.backbones.resnet import ResNet, ResNeXt
from polarseg.models.backbones.vovnet import OSABlock, VoVNet

__all__ = ['DLA', 'DLATree', 'MobileNetV2', 'OSABlock', 'ResNeXt', 'ResNet', 'VoVNet']
