"""Compiled operators. Importing this package needs torch and nothing else."""

from pathlib import Path

from polarseg.ops._library import load_library

load_library(Path(__file__).resolve().parent.parent)

# The wrappers attach Python-side rules to operators that exist only once the library is loaded.
from polarseg.ops.deform_conv2d import deform_conv2d  # noqa: E402
from polarseg.ops.largest_contours import largest_contours  # noqa: E402
from polarseg.ops.polar_rays import polar_ray_targets  # noqa: E402
from polarseg.ops.rle import paste_masks_to_rle, polygons_to_rle  # noqa: E402

__all__ = [
    'deform_conv2d',
    'largest_contours',
    'paste_masks_to_rle',
    'polar_ray_targets',
    'polygons_to_rle',
]
