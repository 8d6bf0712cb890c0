"""Panoptic quality and the semantic branch's mean IoU in mmengine's evaluator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from polarseg.evaluation.mean_iou import MeanIoU, confusion_counts
from polarseg.evaluation.panoptic_quality import PanopticQuality, match_segments, quality_table
from polarseg.registry import METRICS
from polarseg.structures import PanopticMap
from polarseg.structures.label_maps import semantic_labels
from polarseg.structures.panoptic import panoptic_classes
from polarseg.structures.panoptic_files import (
    PanopticFiles,
    claim_png,
    panoptic_annotation,
    save_panoptic_json,
)
from polarseg.structures.panoptic_png import write_panoptic_png

__all__ = ['CocoPanopticQualityMetric']

IGNORED = 255
PARTS = {'': None, '_th': True, '_st': False}
"""Ends of the names of results, and the ``isthing`` that they stand for."""


@METRICS.register_module()
class CocoPanopticQualityMetric(BaseMetric):
    """PQ, SQ and RQ by COCO's rules, and mIoU of the semantic branch; all in percent.

    Ground truth is read from files in the COCO panoptic format. Of each picture only the counts of
    its classes are kept, so that there is little to gather from several processes. Predictions:

    - ``pred_panoptic_seg``: a :class:`~polarseg.structures.PanopticMap` or its ``to_pixel_data``,
      at the size of the original picture. Categories 0 .. T-1 are ``classes`` of the data set's
      meta information (things), T .. T+S-1 its ``stuff_classes``; the file's ids are found by name.
      What mmdet's panoptic models give (``sem_seg``, class + 1000 x instance) is taken, too, with
      mmdet's meta information (``thing_classes``) or ours.
    - ``pred_sem_seg.sem_seg``, if there is one: ``[1, H, W]`` labels of the same size, 0 any thing,
      1 .. S stuff.

    Results are ``PQ``, ``SQ``, ``RQ`` of all classes, of things (``PQ_th`` ...), of stuff
    (``PQ_st`` ...), and ``mIoU`` where there were semantic maps; nan where no class occurs.

    AP of boxes and things comes from :class:`~polarseg.evaluation.CocoInstanceMetric` beside this
    one, so that one test prints the whole of PQ, SQ, RQ, PQ_th, PQ_st, mIoU (this metric), box and
    thing AP (``coco/bbox_mAP``, ``coco/segm_mAP``)::

        val_evaluator = [
            dict(
                type='CocoPanopticQualityMetric',
                ann_file='data/coco/annotations/panoptic_val2017.json',
                seg_prefix='data/coco/annotations/panoptic_val2017/',
            ),
            dict(
                type='CocoInstanceMetric',
                ann_file='data/coco/annotations/instances_val2017.json',
                metric=['bbox', 'segm'],
            ),
        ]
        test_evaluator = val_evaluator

    Args:
        ann_file: JSON of the ground truth.
        seg_prefix: folder of its PNGs; None is the path of the JSON without suffix.
        classwise: log a table of the classes too.
        format_only: write results without evaluating them; needs no ground truth of the pictures,
            only the categories.
        outfile_prefix: write the predictions to ``PREFIX.panoptic.json`` and PNGs in the folder
            ``PREFIX.panoptic``, which ``tools/analysis_tools/panoptic_quality.py`` reads. They have
            the names of the true PNGs, without folders.
        kwargs: of mmengine's ``BaseMetric``.

    Raises:
        ValueError: if ``format_only`` has no ``outfile_prefix``, or two pictures would be written
            to one PNG. When the data set's meta information is set, before anything is trained:
            if its classes are not the categories of the file, all of them.
    """

    default_prefix = 'coco_panoptic'

    def __init__(
        self,
        ann_file: str,
        seg_prefix: str | None = None,
        classwise: bool = False,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if format_only and outfile_prefix is None:
            raise ValueError('format_only needs an outfile_prefix to write to')
        self.truth = PanopticFiles(ann_file, seg_prefix, need_annotations=not format_only)
        self.classwise = classwise
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self._png_names = {} if outfile_prefix is None else self.truth.png_names()
        self._png_owners = {name: number for number, name in self._png_names.items()}

    @property
    def dataset_meta(self) -> dict | None:
        """Meta information of the data set, with the class names."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        self._dataset_meta = meta
        self._category_ids()

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Take in one batch.

        Args:
            data_batch: not looked at.
            data_samples: with ``img_id``, ``pred_panoptic_seg`` and, if any, ``pred_sem_seg``.

        Raises:
            ValueError: if a picture or class is not in the ground truth, or a prediction does not
                fit; with the picture's id.
        """
        category_ids = dict(enumerate(self._category_ids()))
        num_classes = tuple(map(len, self._class_names()))
        for sample in data_samples:
            number = sample['img_id']
            try:
                found = PanopticMap.from_data(sample['pred_panoptic_seg'], num_classes)
                found = found.with_categories(category_ids)
                self.results.append(self._picture(sample, found))
            except ValueError as error:
                raise ValueError(f'image {number}: {error}') from error

    def _picture(self, sample: dict, found: PanopticMap) -> dict:
        """What is kept of a picture; its PNG is written here."""
        kept: dict[str, Any] = {}
        number = sample['img_id']
        truth = None if self.format_only else self.truth.read(number)
        if self.outfile_prefix is not None:
            name = self._png_name(sample)
            self._folder.mkdir(parents=True, exist_ok=True)
            write_panoptic_png(self._folder / name, found.ids)
            kept['annotation'] = panoptic_annotation(number, name, found)
            height, width = found.ids.shape
            file_name = Path(sample.get('img_path', name)).name
            kept['image'] = dict(id=number, file_name=file_name, height=height, width=width)
        if truth is None:
            return kept
        kept['segments'] = match_segments(found, truth)
        semantic = sample.get('pred_sem_seg')
        if semantic is not None:
            kept['semantic'] = self._confusion(semantic['sem_seg'], truth)
        return kept

    def _confusion(self, semantic: Tensor, truth: PanopticMap) -> tuple[np.ndarray, np.ndarray]:
        """The entries of a confusion matrix that are not 0: places in the flat one, counts."""
        predicted = np.asarray(semantic.cpu() if isinstance(semantic, Tensor) else semantic)
        predicted = predicted.reshape(predicted.shape[-2:])
        labels = truth.semantic(self._semantic_labels(), IGNORED)
        matrix = confusion_counts(predicted, labels, self._num_semantic, IGNORED).reshape(-1)
        places = np.flatnonzero(matrix)
        return places, matrix[places]

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Percentages of the collected results; {} where they are only written.

        Args:
            results: of all processes, one entry for each picture.

        Raises:
            ValueError: if two pictures have been written to one PNG, by different processes.
        """
        logger = MMLogger.get_current_instance()
        if self.outfile_prefix is not None:
            file = self._file
            annotations = [entry['annotation'] for entry in results]
            owners: dict[str, int | str] = {}
            for entry in annotations:  # of all processes
                claim_png(owners, entry['file_name'], entry['image_id'], file)
            images = [entry['image'] for entry in results]
            save_panoptic_json(file, annotations, self.truth.categories, images)
            logger.info(f'Panoptic results: {file}, {self._folder}')
        if self.format_only:
            return {}
        if len(results) != len(self.truth):
            logger.warning(
                f'PQ is that of {len(results)} pictures; {self.truth.file} has {len(self.truth)}'
            )
        quality = PanopticQuality(self.truth.categories)
        for entry in results:
            quality.add_counts(entry['segments'])
        scores = {}
        for end, isthing in PARTS.items():
            names = (f'PQ{end}', f'SQ{end}', f'RQ{end}')
            scores |= {name: 100 * v for name, v in zip(names, quality.mean(isthing))}
        logger.info(f'Panoptic quality\n{quality_table(quality, self.classwise)}')
        maps = [entry['semantic'] for entry in results if 'semantic' in entry]
        if maps:
            scores['mIoU'] = 100 * self._mean_iou(maps)
        return scores

    def _mean_iou(self, maps: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
        total = MeanIoU(self._num_semantic, IGNORED)
        for places, counts in maps:
            total.confusion.reshape(-1)[places] += counts
        if self.classwise:
            names = ('things', *self._class_names()[1])
            lines = ['Semantic branch', '| class | IoU |', '|---|---|']
            for name, iou in zip(names, total.per_class().tolist()):
                if iou == iou:
                    lines.append(f'| {name} | {100 * iou:.2f} |')
            MMLogger.get_current_instance().info('\n'.join(lines))
        return total.mean()

    @property
    def _file(self) -> str:
        return f'{self.outfile_prefix}.panoptic.json'

    @property
    def _folder(self) -> Path:
        return Path(f'{self.outfile_prefix}.panoptic')

    @property
    def _num_semantic(self) -> int:
        """Things are one class."""
        return 1 + len(self._class_names()[1])

    def _png_name(self, sample: Mapping[str, Any]) -> str:
        """That of the ground truth; of a picture without one, that of the photograph.

        Raises:
            ValueError: if it is that of another picture, too.
        """
        number = sample['img_id']
        name = self._png_names.get(number)
        if name is None:
            name = f'{Path(str(sample.get("img_path", number))).stem}.png'
            claim_png(self._png_owners, name, number, self._file)
        return name

    def _class_names(self) -> tuple[list[str], list[str]]:
        return panoptic_classes(self.dataset_meta or {})

    def _category_ids(self) -> list[int]:
        """The file's category id of each contiguous category: things, then stuff."""
        things, stuff = self._class_names()
        wanted = [(name, True) for name in things] + [(name, False) for name in stuff]
        ids = {(c.name, c.isthing): c.id for c in self.truth.categories}
        strange = [name for name, isthing in wanted if (name, isthing) not in ids]
        if strange:
            raise ValueError(f'{self.truth.file}: no thing or stuff category is named {strange}')
        further = [name for name, isthing in ids if (name, isthing) not in wanted]
        if further or len(wanted) > len(ids):
            raise ValueError(
                f'{self.truth.file} has {len(ids)} categories, the data set {len(wanted)} classes; '
                f'without a class: {further}. PQ is over all categories of the file: name them in '
                'classes and stuff_classes, or take them out of the file'
            )
        return [ids[key] for key in wanted]

    def _semantic_labels(self) -> dict[int, int]:
        """Label of each of the file's categories: things 0, stuff from 1."""
        things, stuff = self._class_names()
        return semantic_labels(self.truth.categories, stuff, things)
