"""Prediction on pictures: what demo/image_demo.py and a user's own script call."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmdet.evaluation import get_classes
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from polarseg.apis.checkpoint import load_checkpoint_file, resolve_checkpoint
from polarseg.apis.config import prepare_config
from polarseg.apis.published import load_exactly, unwrap_state_dict
from polarseg.registry import DATASETS, MODELS, TRANSFORMS
from polarseg.structures import PanopticMap, masks_to_rle
from polarseg.structures.panoptic import thing_classes
from polarseg.visualization import draw_instances, draw_panoptic

__all__ = ['InstanceInferencer', 'Prediction', 'find_pictures', 'predictions_to_coco']

Picture = str | os.PathLike | np.ndarray
PICTURE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


@dataclass
class Prediction:
    """What a model found in one picture.

    Attributes:
        path: the picture's file, None for an array.
        image: ``[H, W, 3]`` uint8 BGR.
        instances: ``bboxes``, ``scores``, ``labels`` and, for a model with masks, ``masks``, in
            pixels of ``image``, best first.
        bases: ``[K, h, w]`` of a BlendMask with ``return_bases``, else None.
        panoptic: all segments of a panoptic model, else None. Categories are classes, then kinds of
            stuff.
    """

    path: Path | None
    image: np.ndarray
    instances: InstanceData
    bases: torch.Tensor | None = None
    panoptic: PanopticMap | None = None

    def above(self, score_thr: float) -> InstanceData:
        """The instances with a score above ``score_thr``."""
        return self.instances[self.instances.scores > score_thr]


def find_pictures(source: str | os.PathLike) -> list[Path]:
    """Picture files of a source, sorted.

    Args:
        source: a file, a folder (not searched below), or a glob pattern.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [entry for entry in path.iterdir() if entry.suffix.lower() in PICTURE_SUFFIXES]
        found = [entry for entry in found if not entry.is_dir()]
    else:
        found = [Path(name) for name in glob.glob(str(source), recursive=True)]
        found = [entry for entry in found if entry.is_file()]
    if not found:
        raise FileNotFoundError(
            f'{source}: neither a picture, nor a folder with pictures '
            f'({", ".join(PICTURE_SUFFIXES)}), nor a pattern that matches any'
        )
    return sorted(found)


class InstanceInferencer:
    """A detector with its test pipeline.

    Args:
        config: config file or object.
        checkpoint: file; ``DIR/latest.pth`` is the newest of DIR. None leaves the weights random.
        device: such as 'cpu' or 'cuda:0'; None takes the GPU where there is one.
        cfg_options: changes of the config file, as ``--cfg-options``.

    Raises:
        FileNotFoundError: if there is no such config file or checkpoint.
        ValueError: if ``cfg_options`` come with a config object, which has no use for them.
        CheckpointError: if the file is unreadable or unsafe.
        LayoutError: if its tensors are not the model's, all named.
    """

    def __init__(
        self,
        config: str | os.PathLike | Config,
        checkpoint: str | os.PathLike | None,
        device: str | torch.device | None = None,
        cfg_options: dict | None = None,
    ) -> None:
        if isinstance(config, Config) and cfg_options:
            raise ValueError('cfg_options change a config file; change the config object itself')
        self.cfg = (
            config
            if isinstance(config, Config)
            else prepare_config(str(config), cfg_options=cfg_options)
        )
        init_default_scope(self.cfg.get('default_scope', 'polarseg'))
        self.model = MODELS.build(self.cfg.model)
        meta = {}
        if checkpoint is not None:
            loaded = load_checkpoint_file(resolve_checkpoint(str(checkpoint)))
            load_exactly(self.model, unwrap_state_dict(loaded))
            meta = loaded.get('meta') or {}
        self.classes = _class_names(meta, self.cfg)
        self.stuff_classes = _stuff_names(meta, self.cfg)
        self.inclusive_boxes = bool(self.cfg.get('inclusive_boxes', False))
        self.device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        self.model.to(self.device).eval()
        steps = [dict(step) for step in self.cfg.test_dataloader.dataset.pipeline]
        # pictures arrive decoded and without annotations
        steps = [step for step in steps if not step['type'].split('.')[-1].startswith('Load')]
        self.pipeline = Compose([TRANSFORMS.build(step) for step in steps])

    def __call__(
        self,
        pictures: Iterable[Picture],
        batch_size: int = 1,
        on_unreadable: Callable[[Picture, OSError | ValueError], None] | None = None,
    ) -> Iterator[Prediction]:
        """Predict pictures one batch after another.

        A picture's result does not depend on the others of its batch: those whose network inputs
        differ in size go through the network apart, because padding reaches the features through
        group normalisation.

        Args:
            pictures: files, or ``[H, W, 3]`` uint8 BGR arrays; read when their turn comes.
            batch_size: pictures in one forward pass, at most.
            on_unreadable: called with a picture that cannot be read and the error, after which the
                others go on; None raises the error.

        Returns:
            An iterator of one prediction for each readable picture, in order. It raises

            * FileNotFoundError if a file does not exist,
            * ValueError if a file is no picture that can be decoded, or an array no such picture;
              the message names it.

        Raises:
            ValueError: if ``batch_size`` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, got {batch_size}')
        return self._stream(pictures, batch_size, on_unreadable)

    def _stream(
        self,
        pictures: Iterable[Picture],
        batch_size: int,
        on_unreadable: Callable[[Picture, OSError | ValueError], None] | None,
    ) -> Iterator[Prediction]:
        batch: list[tuple[Path | None, np.ndarray]] = []
        for picture in pictures:
            try:
                batch.append(_read(picture))
            except (OSError, ValueError) as error:
                if on_unreadable is None:
                    raise
                on_unreadable(picture, error)
                continue
            if len(batch) == batch_size:
                yield from self._predict(batch)
                batch = []
        if batch:
            yield from self._predict(batch)

    def _predict(self, batch: Sequence[tuple[Path | None, np.ndarray]]) -> list[Prediction]:
        packed = [
            self.pipeline(
                dict(
                    img=image,
                    img_id=index,
                    img_path=str(path) if path else None,
                    img_shape=image.shape[:2],
                    ori_shape=image.shape[:2],
                )
            )
            for index, (path, image) in enumerate(batch)
        ]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, sample in enumerate(packed):
            by_size.setdefault(tuple(sample['inputs'].shape), []).append(index)
        found: dict[int, DetDataSample] = {}
        for indices in by_size.values():
            data = {key: [packed[index][key] for index in indices] for key in packed[0]}
            with torch.no_grad():
                found.update(zip(indices, self.model.test_step(data)))
        return [_prediction(path, image, found[index]) for index, (path, image) in enumerate(batch)]

    def draw(self, prediction: Prediction, score_thr: float = 0.3) -> np.ndarray:
        """``[h, w, 3]`` uint8 BGR picture, enlarged if small, with what is above ``score_thr``.

        Of a panoptic model that is the map of all its segments, whatever their score.
        """
        if prediction.panoptic is not None:
            names = [*self.classes, *self.stuff_classes]
            return draw_panoptic(prediction.image, prediction.panoptic, names)
        return draw_instances(prediction.image, prediction.above(score_thr), self.classes)


def predictions_to_coco(
    predictions: Iterable[Prediction],
    classes: Sequence[str],
    score_thr: float = 0.0,
    inclusive_boxes: bool = False,
) -> dict:
    """Predictions as one COCO-format dict: ``images``, ``categories`` and scored ``annotations``.

    Category ids are labels + 1. Masks are compressed RLE with text counts; ``area`` is that of the
    mask, or of the box where there is none. Models with mask scoring give ``mask_score``, which
    ranks masks in the mask AP, beside the box's ``score``.

    Args:
        predictions: of any number of pictures.
        classes: names of the labels; a label beyond them is named 'label N'.
        score_thr: instances with a higher score are written.
        inclusive_boxes: boxes name their last pixel, so that their width is ``x2 - x1 + 1``.
    """
    images, annotations = [], []
    edge = 1 if inclusive_boxes else 0
    for image_id, prediction in enumerate(predictions, start=1):
        height, width = prediction.image.shape[:2]
        name = str(prediction.path) if prediction.path else f'array {image_id}'
        images.append(dict(id=image_id, file_name=name, height=height, width=width))
        kept = prediction.above(score_thr)
        rles = masks_to_rle(kept.masks) if 'masks' in kept else None
        for index in range(len(kept)):
            x1, y1, x2, y2 = (float(value) for value in kept.bboxes[index])
            annotation = dict(
                id=len(annotations) + 1,
                image_id=image_id,
                category_id=int(kept.labels[index]) + 1,
                bbox=[round(value, 2) for value in (x1, y1, x2 - x1 + edge, y2 - y1 + edge)],
                score=round(float(kept.scores[index]), 5),
                iscrowd=0,
            )
            if 'mask_scores' in kept:
                annotation['mask_score'] = round(float(kept.mask_scores[index]), 5)
            annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
            if rles is not None:
                annotation['area'] = int(coco_mask.area(rles[index]))
                counts = rles[index]['counts'].decode()
                annotation['segmentation'] = dict(rles[index], counts=counts)
            annotations.append(annotation)
    labels = range(max([len(classes), *(item['category_id'] for item in annotations)]))
    names = [classes[label] if label < len(classes) else f'label {label}' for label in labels]
    categories = [dict(id=label + 1, name=name) for label, name in enumerate(names)]
    return dict(images=images, categories=categories, annotations=annotations)


def _read(picture: Picture) -> tuple[Path | None, np.ndarray]:
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(
                f'an array must be [H, W, 3] uint8, got {list(picture.shape)} {picture.dtype}'
            )
        return None, picture
    try:
        image = mmcv.imfrombytes(Path(picture).read_bytes())
    except cv2.error as error:
        raise ValueError(f'{picture}: not a picture that can be decoded ({error})') from error
    if image is None:
        raise ValueError(f'{picture}: not a picture that can be decoded')
    return Path(picture), image


def _prediction(path: Path | None, image: np.ndarray, sample: DetDataSample) -> Prediction:
    panoptic = sample.get('pred_panoptic_seg')
    return Prediction(
        path,
        image,
        _to_cpu(sample.pred_instances),
        sample.get('pred_bases'),
        None if panoptic is None else PanopticMap.from_data(panoptic),
    )


def _to_cpu(instances: InstanceData) -> InstanceData:
    moved = instances.cpu()
    # mmengine moves tensors only, and polygons would stay on the GPU
    if hasattr(moved.get('masks'), 'cpu'):
        moved.masks = moved.masks.cpu()
    return moved


def _class_names(meta: dict, cfg: Config) -> tuple[str, ...]:
    """From the checkpoint, else the config's data set, else COCO."""
    stored = thing_classes(meta.get('dataset_meta') or {}) or meta.get('CLASSES')
    configured = thing_classes(cfg.test_dataloader.dataset.get('metainfo', {}))
    if stored or configured:
        return tuple(stored or configured)
    # mmdet writes COCO's names with underscores
    return tuple(name.replace('_', ' ') for name in get_classes('coco'))


def _stuff_names(meta: dict, cfg: Config) -> tuple[str, ...]:
    """From the checkpoint, else the config's data set; none for models of instances alone."""
    stored = (meta.get('dataset_meta') or {}).get('stuff_classes')
    configured = cfg.test_dataloader.dataset.get('metainfo', {}).get('stuff_classes')
    if stored or configured:
        return tuple(stored or configured)
    dataset = DATASETS.get(cfg.test_dataloader.dataset.type)
    return tuple(getattr(dataset, 'METAINFO', {}).get('stuff_classes', ()))
