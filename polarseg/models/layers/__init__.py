"""Layers that several networks share."""

from polarseg.models.layers.sync_batch_norm import (
    CPUSyncBatchNorm,
    convert_sync_batchnorm_to_cpu,
)

__all__ = ['CPUSyncBatchNorm', 'convert_sync_batchnorm_to_cpu']
