"""Panoptic data in COCO format: beside instance data of the same pictures, and alone."""

import logging
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets import CocoPanopticDataset as _CocoPanopticDataset
from mmdet.datasets.api_wrappers import COCOPanoptic
from mmengine.fileio import join_path
from mmengine.logging import print_log
from mmengine.utils import is_abs

from polarseg.datasets.coco_instances import ClassOrdered, CocoInstanceDataset
from polarseg.registry import DATASETS
from polarseg.structures.label_maps import semantic_labels
from polarseg.structures.panoptic_files import PanopticFiles

__all__ = ['CocoPanopticDataset', 'CocoPanopticInstanceDataset']

ON_MISSING = ('error', 'skip')


@DATASETS.register_module()
class CocoPanopticInstanceDataset(CocoInstanceDataset):
    """COCO instances whose pictures have panoptic annotations too, joined by image id.

    Instances, which may overlap, come from the instance file; the panoptic PNG says what is stuff,
    which ``LoadPanopticLabels`` reads. ``metainfo['stuff_classes']`` are names of stuff; label
    ``s + 1`` of the semantic branch is ``stuff_classes[s]``. Without it, these are COCO's 53 in
    the order of their ids.

    Args:
        panoptic_file: JSON in COCO panoptic format, under ``data_root`` unless absolute. None is
            for testing, where the names alone are needed. The PNGs are in
            ``data_prefix['panoptic']``, by default in COCO's place, the folder beside the file with
            its name.
        missing_panoptic: what to do about pictures that the file lacks: ``'error'``, or
            ``'skip'``, which leaves them out and says how many (``without_panoptic``).

    Attributes:
        without_panoptic: ids of the pictures left out.

    Raises:
        FileNotFoundError: no ``panoptic_file``. PNGs are looked for when they are loaded.
        PanopticFileError: a file that is not in the format, which is a ``ValueError``.
        ValueError: pictures that the panoptic file lacks; a class that it lacks, or that it has as
            stuff if it is a thing here, or the other way round; what the instances raise.
    """

    METAINFO = dict(
        CocoDataset.METAINFO, stuff_classes=_CocoPanopticDataset.METAINFO['stuff_classes']
    )

    def __init__(
        self,
        *args: Any,
        panoptic_file: str | None = None,
        missing_panoptic: str = 'error',
        **kwargs: Any,
    ) -> None:
        if missing_panoptic not in ON_MISSING:
            raise ValueError(
                f'missing_panoptic must be one of {ON_MISSING}, got {missing_panoptic!r}'
            )
        self.panoptic_file = panoptic_file
        self.missing_panoptic = missing_panoptic
        self.without_panoptic: list[int] = []
        self._labels: dict[int, int] = {}
        super().__init__(*args, **kwargs)

    def _join_prefix(self) -> None:
        super()._join_prefix()
        if self.panoptic_file and self.data_root and not is_abs(self.panoptic_file):
            self.panoptic_file = join_path(self.data_root, self.panoptic_file)

    def load_data_list(self) -> list[dict]:
        """Parse both annotation files.

        Returns:
            The dicts of the instances. With ``panoptic_file`` they have ``panoptic_path``, of the
            PNG, and ``segments_info``, dicts of ``id``, ``category_id`` of the file and
            ``isthing``.
        """
        data_list = super().load_data_list()
        self.without_panoptic = []
        if self.panoptic_file is None:
            return data_list
        try:
            files = PanopticFiles(self.panoptic_file, self.data_prefix.get('panoptic'))
            self._labels = semantic_labels(
                files.categories, self.metainfo['stuff_classes'], self.metainfo['classes']
            )
        except ValueError as error:
            if self.panoptic_file in str(error):
                raise
            raise ValueError(f'{self.panoptic_file}: {error}') from error
        return self._join(data_list, files)

    def _join(self, data_list: list[dict], files: PanopticFiles) -> list[dict]:
        joined = []
        for info in data_list:
            if info['img_id'] not in files.annotations:
                self.without_panoptic.append(info['img_id'])
                continue
            info['panoptic_path'] = str(files.png(info['img_id']))
            # the rest of a segment would only take up memory
            info['segments_info'] = [
                dict(id=segment.id, category_id=segment.category_id, isthing=segment.isthing)
                for segment in files.segments(info['img_id'])
            ]
            joined.append(info)
        self._report_missing(len(data_list))
        return joined

    def _report_missing(self, number: int) -> None:
        if not self.without_panoptic:
            return
        message = (
            f'{self.panoptic_file} lacks {len(self.without_panoptic)} of the {number} pictures of '
            f'{self.ann_file} (first image id {self.without_panoptic[0]})'
        )
        if self.missing_panoptic == 'error':
            raise ValueError(f"{message}; missing_panoptic='skip' leaves them out")
        print_log(f'{message}; they are left out', logger='current', level=logging.WARNING)

    def get_data_info(self, idx: int) -> dict:
        """As mmengine's, with ``semantic_labels``: semantic label of each category of the file."""
        info = super().get_data_info(idx)
        if self.panoptic_file is not None:
            # the same for all pictures, so that it is not stored with each
            info['semantic_labels'] = self._labels
        return info


class _ClassOrderedPanoptic(ClassOrdered, COCOPanoptic):
    """A panoptic file; each picture knows the name of its PNG."""

    def createIndex(self) -> None:
        """Index the entries by id, and note in a picture's the name of its PNG."""
        super().createIndex()
        for annotation in self.dataset.get('annotations', []):
            image = self.imgs.get(annotation['image_id'])
            if image is not None:
                image['segm_file'] = annotation['file_name']


@DATASETS.register_module()
class CocoPanopticDataset(_CocoPanopticDataset):
    """mmdet's panoptic data, things included, for mmdet's panoptic models.

    Unlike there, labels follow the order of ``metainfo['classes']`` (things, then stuff), whatever
    the order of the file, and PNGs have the names that the file gives them, not those of the
    pictures.

    Args:
        args, kwargs: mmdet's. ``metainfo`` has ``classes``, ``thing_classes`` and
            ``stuff_classes``.

    Raises:
        ValueError: with the file's name, for classes that it lacks, a category without a class, or
            two pictures with one id.
    """

    COCOAPI = _ClassOrderedPanoptic

    def load_data_list(self) -> list[dict]:
        """Parse the annotation file; see the class for what is checked on the way."""
        try:
            return super().load_data_list()
        except KeyError as error:
            raise ValueError(
                f'{self.ann_file}: an entry lacks the key {error}, or its category is none of the '
                'classes'
            ) from error
        except ValueError as error:
            raise ValueError(f'{self.ann_file}: {error}') from error

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """One picture; see mmdet's ``CocoPanopticDataset``."""
        info = super().parse_data_info(raw_data_info)
        if info['seg_map_path'] is not None:
            name = raw_data_info['raw_img_info']['segm_file']
            info['seg_map_path'] = join_path(self.data_prefix['seg'], name)
        return info
