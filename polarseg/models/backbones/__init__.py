"""Networks that turn pictures into feature maps."""

from polarseg.models.backbones.resnet import ResNet, ResNeXt

__all__ = ['ResNeXt', 'ResNet']
