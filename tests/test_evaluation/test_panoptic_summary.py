"""The line of figures under a panoptic test."""

import subprocess
import sys

from polarseg.evaluation import panoptic_summary

QUALITY = {f'coco_panoptic/{name}': 50.04 for name in ('PQ', 'SQ', 'RQ', 'PQ_th', 'PQ_st')}


def test_percentages():
    scores = QUALITY | {'coco_panoptic/mIoU': 43.5, 'coco/bbox_mAP': 0.418, 'coco/segm_mAP': 0.3725}
    heading, _, row = panoptic_summary(scores).splitlines()
    assert heading == '| PQ | SQ | RQ | PQ things | PQ stuff | mIoU | box AP | thing AP |'
    assert row == '| 50.0 | 50.0 | 50.0 | 50.0 | 50.0 | 43.5 | 41.8 | 37.2 |'


def test_what_has_not_been_evaluated():
    row = panoptic_summary(QUALITY).splitlines()[2]
    assert row == '| 50.0 | 50.0 | 50.0 | 50.0 | 50.0 | - | - | - |'


def test_what_does_not_occur():
    strange = {'coco_panoptic/PQ_th': float('nan'), 'coco/bbox_mAP': -1.0, 'coco/segm_mAP': 0.0}
    row = panoptic_summary(QUALITY | strange).splitlines()[2]
    assert row == '| 50.0 | 50.0 | 50.0 | - | 50.0 | - | - | 0.0 |'


def test_nothing_for_instances_alone():
    assert panoptic_summary({'coco/bbox_mAP': 0.4}) is None
    assert panoptic_summary({}) is None


def test_importing_metrics_prints_nothing():
    """mmdet prints what optional packages it lacks."""
    command = [sys.executable, '-c', 'import polarseg.evaluation']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ''
