"""folder_quality: real ground truth against itself, several processes, errors with file and id."""

import numpy as np
import pytest
from panoptic_pictures import CATEGORIES, make, write_predictions

from polarseg.evaluation import PanopticQuality, folder_quality
from polarseg.structures.panoptic_files import (
    PanopticFileError,
    PanopticFiles,
)
from polarseg.structures.panoptic_png import read_panoptic_png, write_panoptic_png


@pytest.fixture
def files(tmp_path):
    truth, predictions = make(tmp_path)
    written = write_predictions(tmp_path / 'found.json', predictions)
    return PanopticFiles(written), PanopticFiles(truth)


def test_real_ground_truth_against_itself(shared_data):
    folder = shared_data / 'coco_panoptic'
    truth = PanopticFiles(folder / 'annotations/panoptic.json', folder / 'panoptic')
    quality = folder_quality(truth, truth)
    assert quality.mean() == (1, 1, 1, 8)
    assert quality.mean(True) == quality.mean(False) == (1, 1, 1, 4)
    # 43 things, of which 3 are crowds, and 7 segments of stuff
    assert quality.counts.sum(axis=0).tolist() == [47, 47, 0, 0]


def test_the_sum_over_pictures(files):
    predictions, truth = files
    expected = PanopticQuality(CATEGORIES)
    for number in truth.annotations:
        expected.add(predictions.read(number), truth.read(number))
    quality = folder_quality(predictions, truth)
    assert (quality.counts == expected.counts).all()
    assert 0.2 < quality.mean().pq < 0.99


@pytest.mark.parametrize('processes', [2, 3])
def test_several_processes_give_the_same(files, processes):
    one, several = (folder_quality(*files, processes=number) for number in (1, processes))
    np.testing.assert_allclose(several.counts, one.counts, rtol=1e-12)
    assert several.mean() == pytest.approx(one.mean())


@pytest.mark.parametrize('processes', [1, 2])
def test_errors_name_file_and_picture(files, processes):
    predictions, truth = files
    path = predictions.folder / predictions.annotation(103)['file_name']
    write_panoptic_png(path, read_panoptic_png(path)[:, 1:])
    with pytest.raises(PanopticFileError, match=r'found\.json: image 103: maps must be of one'):
        folder_quality(predictions, truth, processes)
    write_panoptic_png(path, read_panoptic_png(path) * 0)
    with pytest.raises(PanopticFileError, match=r'image 103: predicted segments without a pixel'):
        folder_quality(predictions, truth, processes)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        folder_quality(predictions, truth, processes)


def test_pictures_without_predictions(files):
    predictions, truth = files
    part = predictions.subset([100, 102])
    with pytest.raises(PanopticFileError, match=r'no prediction for 4 of 6 images \(101, 103, 104'):
        folder_quality(part, truth)
    # more predictions than needed do no harm
    assert folder_quality(predictions, truth.subset([100])).counts.any()


def test_no_pictures(files):
    predictions, truth = files
    assert folder_quality(predictions, truth.subset([]), processes=2).mean().classes == 0
