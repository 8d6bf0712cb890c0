"""Panoptic quality of a folder of predictions."""

from concurrent.futures import ProcessPoolExecutor

from polarseg.evaluation.panoptic_quality import PanopticQuality
from polarseg.structures.panoptic_files import PanopticFileError, PanopticFiles

__all__ = ['folder_quality']

CHUNKS_PER_PROCESS = 4


def folder_quality(
    predictions: PanopticFiles, truth: PanopticFiles, processes: int = 1
) -> PanopticQuality:
    """Panoptic quality over the pictures of a file.

    Args:
        predictions: of every picture of ``truth``; further pictures are not looked at.
        truth: its categories are those that count.
        processes: that share the pictures; 1 starts none. The result does not depend on it, but
            for the last bits of sums.

    Raises:
        OSError: if a PNG cannot be read.
        PanopticFileError: if a picture is missing, or a file is not as it should be.
    """
    missing = [number for number in truth.annotations if number not in predictions.annotations]
    if missing:
        shown = ', '.join(map(str, missing[:5])) + (', ...' if len(missing) > 5 else '')
        raise PanopticFileError(
            f'{predictions.file}: no prediction for {len(missing)} of {len(truth)} images ({shown})'
        )
    numbers = list(truth.annotations)
    if processes <= 1 or len(numbers) <= 1:
        return _quality_of(predictions, truth)
    total = PanopticQuality(truth.categories)
    step = -(-len(numbers) // (processes * CHUNKS_PER_PROCESS))
    chunks = [numbers[start : start + step] for start in range(0, len(numbers), step)]
    with ProcessPoolExecutor(processes) as pool:
        parts = pool.map(_quality_of, map(predictions.subset, chunks), map(truth.subset, chunks))
        for part in parts:
            total.merge(part)
    return total


def _quality_of(predictions: PanopticFiles, truth: PanopticFiles) -> PanopticQuality:
    quality = PanopticQuality(truth.categories)
    for number in truth.annotations:
        prediction, true = predictions.read(number), truth.read(number)
        try:
            quality.add(prediction, true)
        except ValueError as error:
            raise PanopticFileError(f'{predictions.file}: image {number}: {error}') from error
    return quality
