"""Layouts of published checkpoints, one module for each family.

The layouts are facts of the published files: names, shapes, and where a number means something
else than it does here.
"""

from polarseg.apis.layouts.backbones import BACKBONES
from polarseg.apis.layouts.blendmask import BLENDMASK
from polarseg.apis.layouts.centermask import CENTERMASK
from polarseg.apis.layouts.fcos import FCOS
from polarseg.apis.layouts.layout import Layout, LayoutError, StateDict
from polarseg.apis.layouts.polarmask import POLARMASK

__all__ = ['LAYOUTS', 'Layout', 'LayoutError', 'StateDict']

# A detector's file may hold the marks of its backbone's layout, and those of the detector without
# masks that it is built on, so these come last.
LAYOUTS: tuple[Layout, ...] = (*POLARMASK, *CENTERMASK, *BLENDMASK, *FCOS, *BACKBONES)
