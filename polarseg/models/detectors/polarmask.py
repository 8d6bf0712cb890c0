"""PolarMask: single shot instance segmentation with polar representation (arXiv 1909.13226)."""

from polarseg.models.detectors.independent_pictures import IndependentPictures
from polarseg.registry import MODELS

__all__ = ['PolarMask']


@MODELS.register_module()
class PolarMask(IndependentPictures):
    """Backbone, feature pyramid and a :class:`~polarseg.models.PolarMaskHead`.

    Everything that makes it PolarMask is in the head. Training samples carry ``contours`` and
    ``centers`` beside boxes and labels (the transforms ``TracePolarContours`` and
    ``PackPolarInputs``); predictions carry ``masks`` as polygons
    (:class:`~polarseg.structures.PolygonInstances`).

    Args:
        backbone: config of the backbone, C2 to C5 out.
        neck: config of the feature pyramid, P3 to P7 out.
        bbox_head: config of the head.
        train_cfg: unused, kept for mmdet's interface.
        test_cfg: arguments of the post-processor.
        data_preprocessor: config of the data preprocessor.
        init_cfg: of mmengine.
        split_batches: see
            :class:`~polarseg.models.detectors.independent_pictures.IndependentPictures`.
    """
