"""Detectors: assembly only."""

from polarseg.models.detectors.polarmask import PolarMask

__all__ = ['PolarMask']
