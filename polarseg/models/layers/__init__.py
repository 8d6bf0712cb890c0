"""Layers that several networks share."""

from polarseg.models.layers.deform_conv import DeformConv2dPack, ModulatedDeformConv2dPack
from polarseg.models.layers.sync_batch_norm import (
    CPUSyncBatchNorm,
    convert_sync_batchnorm_to_cpu,
)

__all__ = [
    'CPUSyncBatchNorm',
    'DeformConv2dPack',
    'ModulatedDeformConv2dPack',
    'convert_sync_batchnorm_to_cpu',
]
