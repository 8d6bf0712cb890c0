"""Synthetic COCO data set of shapes: small, seeded, and full of what real data does.

Needs numpy, OpenCV and pycocotools only. :func:`write_dataset` writes a data set,
:func:`draw_picture` makes a single picture in memory, :class:`ShapesConfig` holds the settings and
:data:`PROFILES` some sets of them.
"""

from polarseg.datasets.shapes.annotate import PHENOMENA
from polarseg.datasets.shapes.config import PROFILES, ShapesConfig, ShapesConfigError, parse_size
from polarseg.datasets.shapes.dataset import (
    SHAPES_VERSION,
    Picture,
    draw_picture,
    missing_phenomena,
    write_dataset,
)
from polarseg.datasets.shapes.outlines import CATEGORIES
from polarseg.datasets.shapes.preview import contact_sheet
from polarseg.datasets.shapes.stuff import STUFF

__all__ = [
    'CATEGORIES',
    'PHENOMENA',
    'PROFILES',
    'SHAPES_VERSION',
    'STUFF',
    'Picture',
    'ShapesConfig',
    'ShapesConfigError',
    'contact_sheet',
    'draw_picture',
    'missing_phenomena',
    'parse_size',
    'write_dataset',
]
