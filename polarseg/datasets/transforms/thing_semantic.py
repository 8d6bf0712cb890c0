"""BlendMask's label maps: at each pixel the class of the thing that is annotated there."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.fileio import exists, get, join_path

from polarseg.datasets.skip_log import SkipLog
from polarseg.datasets.transforms.picture_size import unmoved_size
from polarseg.registry import TRANSFORMS
from polarseg.structures.coco_format import decode_segmentation, why_no_mask

__all__ = ['LoadThingSemantic']

LARGEST_LABEL = 255
"""Label maps are uint8, as the published ones are; panoptic models have a second one above it."""


@TRANSFORMS.register_module()
class LoadThingSemantic(BaseTransform):
    """Make the label map for BlendMask's auxiliary loss on its bases (arXiv 2001.00309).

    Starting from 0, the mask of every annotation of the picture, crowds included, is painted in the
    order of the annotation file with its class index + 1; later ones cover earlier ones. What a
    ``CocoInstanceDataset`` leaves out of the instances because of its box or area is painted too.
    These are the published maps (``thing_train2017``), which so need no preparation and no disk.

    Put it behind the loading of the picture, before anything that changes its geometry. Resizing,
    flipping and :class:`InstanceAwareCrop` then carry the map along.

    Args:
        map_dir: folder with prepared maps to read instead: ``<stem of the picture>.npz``, the map
            under the key ``mask``. None paints.
        labels: what to paint for each class, 0 to 255, where it is not class index + 1; for more
            than 255 classes some have to share a label. The published maps for LVIS v0.5 have the
            category id // 5.
        backend_args: of mmengine's file reading, for ``map_dir``.

    Raises:
        ValueError: if a label is not in [0, 255].
    """

    def __init__(
        self,
        map_dir: str | None = None,
        labels: Sequence[int] | None = None,
        backend_args: dict | None = None,
    ) -> None:
        wrong = [label for label in labels or () if not 0 <= label <= LARGEST_LABEL]
        if wrong:
            raise ValueError(f'labels must lie in [0, {LARGEST_LABEL}], got {wrong[0]}')
        self.map_dir = map_dir
        self.labels = None if labels is None else list(labels)
        self.backend_args = backend_args
        self.skips = SkipLog(type(self).__name__)

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map``, ``[H, W]`` uint8 of the picture's own size.

        Needs ``ori_shape`` or ``height`` and ``width``, and ``instances`` to paint or ``img_path``
        to find a prepared map.

        Raises:
            FileNotFoundError: if there is no prepared map.
            ValueError: if the prepared map is not what it should be, a class has no label, the
                picture has been resized, cropped or flipped before, or has a label map already.
        """
        size = unmoved_size(results, type(self).__name__)
        if results.get('gt_seg_map') is not None:
            raise ValueError('LoadThingSemantic would replace a gt_seg_map that is there already')
        painted = self.map_dir is None
        results['gt_seg_map'] = self._paint(results, size) if painted else self._read(results, size)
        return results

    def _paint(self, results: dict, size: tuple[int, int]) -> np.ndarray:
        # the order of pycocotools' masks, in which copying is quickest
        labels = np.zeros(size, np.uint8, order='F')
        annotations = list(results['instances'])
        for skipped in results.get('skipped_masks', ()):
            annotations.insert(skipped['position'], skipped)
        for index, annotation in enumerate(annotations):
            reason = why_no_mask(annotation.get('mask'), list(size))
            if reason is not None:
                self.skips.add(reason, f'annotation {index} of image {results.get("img_id")}')
                continue
            label = self._label_of(annotation['bbox_label'])
            mask = decode_segmentation(annotation['mask'], *size)
            np.copyto(labels, label, where=mask.view(bool))
        return np.ascontiguousarray(labels)

    def _label_of(self, index: int) -> np.uint8:
        if self.labels is None:
            label = index + 1
        elif index < len(self.labels):
            label = self.labels[index]
        else:
            raise ValueError(f'class {index} has no label; there are {len(self.labels)} labels')
        if label > LARGEST_LABEL:
            raise ValueError(
                f'class {index} would get label {label}, but label maps end at {LARGEST_LABEL}; '
                'give labels=[...], one for each class, in which some classes share a label'
            )
        return np.uint8(label)

    def _read(self, results: dict, size: tuple[int, int]) -> np.ndarray:
        name = f'{Path(results["img_path"]).stem}.npz'
        path = join_path(self.map_dir, name, backend_args=self.backend_args)
        if not exists(path, backend_args=self.backend_args):
            raise FileNotFoundError(
                f'no thing-semantic map {path}; without map_dir, maps are made from the annotations'
            )
        content = get(path, backend_args=self.backend_args)
        try:
            with np.lib.npyio.NpzFile(io.BytesIO(content)) as arrays:
                labels = arrays['mask']
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is no npz file with the key 'mask': {error}") from error
        if labels.dtype != np.uint8 or labels.shape != size:
            raise ValueError(
                f'{path} must hold uint8 labels of shape {list(size)}, the size of the picture; '
                f'got {labels.dtype} of shape {list(labels.shape)}'
            )
        return labels

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(map_dir={self.map_dir!r}, labels={self.labels}, '
            f'backend_args={self.backend_args})'
        )
