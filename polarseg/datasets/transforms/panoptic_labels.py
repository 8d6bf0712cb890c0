"""Labels of stuff for the semantic branch, from the panoptic annotation of a picture."""

from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from polarseg.datasets.transforms.picture_size import unmoved_size
from polarseg.registry import TRANSFORMS
from polarseg.structures.label_maps import UNLABELLED, join_labels
from polarseg.structures.panoptic_png import read_panoptic_map

__all__ = ['LoadPanopticLabels']


@TRANSFORMS.register_module()
class LoadPanopticLabels(BaseTransform):
    """Make the label map for the semantic branch of panoptic models (arXiv 1901.02446).

    At each pixel 0 stands for any thing, crowds included, s + 1 for the stuff
    ``stuff_classes[s]``, and 255 for void and other stuff, which the loss ignores. These are the
    maps that the published models are trained on (``panoptic_stuff_train2017``), made from the
    panoptic PNG of a :class:`CocoPanopticInstanceDataset` without preparation.

    Put it behind the loading of the picture, before anything that changes its geometry, and behind
    ``LoadThingSemantic`` if there is one: both label maps travel as one
    (:func:`~polarseg.structures.join_labels`), which ``PanopticDataPreprocessor`` takes apart.

    Args:
        map_dir: folder with prepared maps to read instead, of one channel of 8 bits, in which the
            label ``s + 1`` is ``stuff_classes[s]``. They have the names of the panoptic PNGs, as
            ``tools/dataset_converters/panoptic_stuff.py`` writes them; where the data set gives
            none, ``<stem of the picture>.png``.
    """

    def __init__(self, map_dir: str | None = None) -> None:
        self.map_dir = map_dir

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map``, ``[H, W]`` int32 of the picture's own size, or join it.

        Needs ``panoptic_path``, ``segments_info`` and ``semantic_labels``, or ``panoptic_path`` or
        ``img_path`` with prepared maps.

        Raises:
            KeyError: if the data set gives no panoptic annotation.
            FileNotFoundError: if there is no panoptic PNG or prepared map.
            ValueError: if a map is not what it should be, or the picture has been resized, cropped
                or flipped before.
        """
        size = unmoved_size(results, type(self).__name__)
        things = results.get('gt_seg_map')
        if things is None:
            things = np.zeros(size, np.uint8)
        elif things.dtype != np.uint8:
            raise ValueError(
                'LoadPanopticLabels joins a gt_seg_map of uint8 labels of things, as '
                f'LoadThingSemantic makes it; this one is {things.dtype}'
            )
        semantic = self._make(results, size) if self.map_dir is None else self._read(results, size)
        results['gt_seg_map'] = join_labels(things, semantic)
        return results

    @staticmethod
    def _make(results: dict, size: tuple[int, int]) -> np.ndarray:
        needed = ('panoptic_path', 'segments_info', 'semantic_labels')
        missing = [key for key in needed if key not in results]
        if missing:
            raise KeyError(
                f'LoadPanopticLabels needs {missing}, which a CocoPanopticInstanceDataset with '
                'panoptic_file gives'
            )
        panoptic = read_panoptic_map(results['panoptic_path'], results['segments_info'], size)
        return panoptic.semantic(results['semantic_labels'], void=UNLABELLED)

    def _read(self, results: dict, size: tuple[int, int]) -> np.ndarray:
        stem = Path(results.get('panoptic_path') or results['img_path']).stem
        path = Path(self.map_dir) / f'{stem}.png'
        if not path.is_file():
            raise FileNotFoundError(
                f'no map of stuff {path}; without map_dir, maps are made from the panoptic PNGs'
            )
        content = np.frombuffer(path.read_bytes(), np.uint8)
        labels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
        if labels is None:
            raise ValueError(f'{path}: no picture, or a damaged one')
        if labels.dtype != np.uint8 or labels.shape != size:
            raise ValueError(
                f'{path} must hold uint8 labels of shape {list(size)}, the size of the picture; '
                f'got {labels.dtype} of shape {list(labels.shape)}'
            )
        known = set(results.get('semantic_labels', {}).values()) | {0, UNLABELLED}
        strays = set(np.unique(labels).tolist()) - known
        if strays and 'semantic_labels' in results:
            raise ValueError(
                f'{path} has label {min(strays)}, but stuff_classes has {len(known) - 2} names'
            )
        return labels

    def __repr__(self) -> str:
        return f'{type(self).__name__}(map_dir={self.map_dir!r})'
