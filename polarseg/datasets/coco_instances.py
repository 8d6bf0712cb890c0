"""Instance segmentation data in COCO format, with every omission accounted for."""

import logging
from collections import defaultdict
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log

from polarseg.registry import DATASETS
from polarseg.structures.coco_format import (
    check_picture_ids,
    count_bad_parts,
    is_box,
    ordered_category_ids,
    why_no_mask,
)

__all__ = ['CocoInstanceDataset']


class ClassOrdered:
    """A COCO file whose category ids come in the order of the names asked for.

    To be put in front of one of mmdet's classes of COCO files.
    """

    def createIndex(self) -> None:
        """Index the entries by id.

        Raises:
            ValueError: if two pictures have one id, of which pycocotools would keep the last.
        """
        check_picture_ids(self.dataset)
        super().createIndex()

    def get_cat_ids(self, cat_names: Any = (), sup_names: Any = (), cat_ids: Any = ()) -> list[int]:
        """Ids of categories, in the order of ``cat_names`` where these alone are given.

        Raises:
            ValueError: if the file lacks a name, or has it twice.
        """
        if cat_names and not sup_names and not cat_ids:
            return ordered_category_ids(self, tuple(cat_names))
        return super().get_cat_ids(cat_names, sup_names, cat_ids)


class _ClassOrderedCOCO(ClassOrdered, COCO):
    pass


@DATASETS.register_module()
class CocoInstanceDataset(CocoDataset):
    """COCO instances for all systems of the toolbox.

    Beyond mmdet's ``CocoDataset``: labels follow the order of ``metainfo['classes']``; annotations
    that cannot be used are left out with a reason, counted, and reported with their ids in one line
    for each reason (``skipped`` keeps them, ``mended`` those
    that are used with a change); a file of which nothing is left is an error. What is left out for
    its box or area keeps its mask in the picture's ``skipped_masks``, from which, with
    ``instances``, ``LoadThingSemantic`` paints every annotation.

    Args:
        inclusive_boxes: the published +1 convention of PolarMask and of the original CenterMask:
            a box of width w ends at ``x + w - 1`` instead of ``x + w``.
        min_annotation_area: annotations whose ``area`` is not above this are left out (published
            PolarMask: 15).
        min_annotation_side: annotations with width **and** height below this are left out
            (published PolarMask: 10).
        require_masks: leave out annotations without a usable ``segmentation``.

    Raises:
        ValueError: classes that the file lacks; two pictures with one id; no picture left after
            filtering.
    """

    COCOAPI = _ClassOrderedCOCO

    def __init__(
        self,
        *args: Any,
        inclusive_boxes: bool = False,
        min_annotation_area: float = 0,
        min_annotation_side: float = 0,
        require_masks: bool = True,
        **kwargs: Any,
    ) -> None:
        self.inclusive_boxes = inclusive_boxes
        self.min_annotation_area = min_annotation_area
        self.min_annotation_side = min_annotation_side
        self.require_masks = require_masks
        self.skipped: dict[str, list[int]] = defaultdict(list)
        self.mended: dict[str, list[int]] = defaultdict(list)
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Parse the annotation file; see the class for what is checked on the way."""
        self.skipped.clear()
        self.mended.clear()
        try:
            data_list = super().load_data_list()
        except KeyError as error:
            raise ValueError(f'{self.ann_file}: an entry lacks the key {error}') from error
        except (AssertionError, ValueError) as error:
            raise ValueError(f'{self.ann_file}: {error}') from error
        self._report('skipped', self.skipped)
        self._report('mended', self.mended)
        self._report_strays({info['img_id'] for info in data_list})
        return data_list

    def _report(self, what: str, ids_by_reason: dict[str, list[int]]) -> None:
        """One line for each reason, with the number of annotations and their first ids."""
        for reason, ids in ids_by_reason.items():
            shown = ', '.join(map(str, ids[:5])) + (', ...' if len(ids) > 5 else '')
            print_log(
                f'{self.ann_file}: {what} {len(ids)} annotation(s): {reason} (ids {shown})',
                logger='current',
                level=logging.WARNING,
            )

    def _report_strays(self, known: set[int]) -> None:
        """Say how many pictures have annotations but no entry of their own."""
        strays = set().union(*self.cat_img_map.values()) - known
        if strays:
            print_log(
                f'{self.ann_file}: annotations of {len(strays)} picture(s) that the file does not '
                f'list are not used (first id {min(strays)})',
                logger='current',
                level=logging.WARNING,
            )

    def filter_data(self) -> list[dict]:
        """As mmdet's, and an error where nothing is left.

        ``filter_empty_gt`` counts usable annotations, mmdet's counts those in the file: a picture
        whose annotations were all left out, or which has crowds alone, would be trained on as one
        without objects.
        """
        kept = super().filter_data()
        if not self.test_mode and (self.filter_cfg or {}).get('filter_empty_gt', False):
            kept = [info for info in kept if any(not i['ignore_flag'] for i in info['instances'])]
        if not kept:
            raise ValueError(
                f'{self.ann_file}: none of its {len(self.data_list)} pictures is left with classes '
                f'{self.metainfo["classes"]} and filter_cfg={self.filter_cfg}'
            )
        if len(kept) < len(self.data_list):
            print_log(
                f'{self.ann_file}: {len(self.data_list) - len(kept)} of {len(self.data_list)} '
                f'pictures are not used for training (filter_cfg={self.filter_cfg})',
                logger='current',
            )
        return kept

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one picture.

        Raises:
            RuntimeError: whatever went wrong on the way, with the picture's file and id; among it a
                picture of another size than the annotation file states.
        """
        info = self.get_data_info(idx)
        try:
            # as mmengine's prepare_data, which would build the entry a second time
            packed = self.pipeline(dict(info))
            _check_size(packed, info)
            return packed
        except Exception as error:
            raise RuntimeError(
                f'{info["img_path"]} (image id {info["img_id"]}): {type(error).__name__}: {error}'
            ) from error

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """One picture with its usable annotations.

        Args:
            raw_data_info: ``raw_img_info`` and ``raw_ann_info`` as in the file.

        Returns:
            mmdet's picture dict; boxes are x1, y1, x2, y2 by the chosen convention, float64.
            Beside ``instances``, ``skipped_masks`` has, in the order of the file, ``bbox_label``
            and ``mask`` of the annotations left out that have both; inserted one after another at
            their ``position`` they restore the file's order.
        """
        image = raw_data_info['raw_img_info']
        missing = [key for key in ('file_name', 'width', 'height') if key not in image]
        if missing:
            raise ValueError(f'picture {image["img_id"]} lacks {missing}')
        usable, skipped_masks = [], []
        for annotation in raw_data_info['raw_ann_info']:
            number = annotation.get('id', -1)
            if annotation.get('area') is None and is_box(annotation.get('bbox')):
                annotation = dict(annotation, area=annotation['bbox'][2] * annotation['bbox'][3])
                self.mended["no area, the box's is taken"].append(number)
            reason = self._why_unusable(annotation, image)
            if reason is not None:
                self.skipped[reason].append(number)
                if self._has_label_and_mask(annotation, image):
                    skipped_masks.append(
                        dict(
                            position=len(usable) + len(skipped_masks),
                            bbox_label=self.cat2label[annotation['category_id']],
                            mask=annotation['segmentation'],
                        )
                    )
                continue
            usable.append(annotation)
            if count_bad_parts(annotation.get('segmentation')):
                self.mended['a part with fewer than 3 points is left out'].append(number)
        info = super().parse_data_info({'raw_img_info': image, 'raw_ann_info': usable})
        assert len(info['instances']) == len(usable), 'a check of _why_unusable is missing'
        info['skipped_masks'] = skipped_masks
        if self.inclusive_boxes:
            for instance, annotation in zip(info['instances'], usable):
                x, y, width, height = annotation['bbox']
                instance['bbox'] = [x, y, x + width - 1, y + height - 1]
        return info

    def _why_unusable(self, annotation: dict, image: dict) -> str | None:
        """The reason to leave an annotation out, or None."""
        if not is_box(annotation.get('bbox')):
            return 'no box of four finite numbers'
        x, y, width, height = annotation['bbox']
        area = annotation['area']
        inside_width = min(x + width, image['width']) - max(x, 0)
        inside_height = min(y + height, image['height']) - max(y, 0)
        side = self.min_annotation_side
        checks = {
            'flagged ignore': annotation.get('ignore', False),
            'category not in the classes': annotation.get('category_id') not in self.cat2label,
            'box without area (a side below one pixel)': width < 1 or height < 1,
            'box outside the picture': inside_width <= 0 or inside_height <= 0,
            'area is zero or negative': area <= 0,
            f'area of at most {self.min_annotation_area}': area <= self.min_annotation_area,
            f'both sides below {side} pixels': width < side and height < side,
        }
        for reason, applies in checks.items():
            if applies:
                return reason
        return _why_no_mask(annotation, image) if self.require_masks else None

    def _has_label_and_mask(self, annotation: dict, image: dict) -> bool:
        known = annotation.get('category_id') in self.cat2label
        return known and _why_no_mask(annotation, image) is None


def _why_no_mask(annotation: dict, image: dict) -> str | None:
    return why_no_mask(annotation.get('segmentation'), [image['height'], image['width']])


def _check_size(packed: Any, info: dict) -> None:
    """Polygons drawn for another size would be misplaced without a word."""
    sample = packed.get('data_samples') if isinstance(packed, dict) else None
    if sample is None or 'ori_shape' not in sample:
        return
    found, stated = tuple(sample.ori_shape[:2]), (info['height'], info['width'])
    if found != stated:
        raise ValueError(
            f'the picture is {found[1]} x {found[0]} pixels, but the annotation file says '
            f'{stated[1]} x {stated[0]} (an EXIF orientation is applied on reading)'
        )
