"""Maps as rows, and the candidates of a picture: what belongs together stays together."""

import pytest
import torch

from polarseg.models.dense_heads.dense_outputs import flatten_levels, select_candidates
from polarseg.models.task_modules import PointPostprocessor

SIZES = [(3, 5), (2, 2)]


def numbered_maps(pictures=2):
    """Every entry says picture, level, row and column where it stands."""
    levels = []
    for level, (height, width) in enumerate(SIZES):
        grid = torch.cartesian_prod(
            torch.arange(pictures), torch.tensor([level]), torch.arange(height), torch.arange(width)
        )
        levels.append(grid.reshape(pictures, height, width, 4).permute(0, 3, 1, 2).float())
    return levels


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_flatten_levels(dtype):
    rows = flatten_levels([level.to(dtype) for level in numbered_maps()])
    expected = [
        [picture, level, row, column]
        for picture in range(2)
        for level, (height, width) in enumerate(SIZES)
        for row in range(height)
        for column in range(width)
    ]
    assert rows.dtype == torch.float32
    assert rows.tolist() == expected


@pytest.mark.parametrize('picture', [0, 1])
@pytest.mark.parametrize('with_boxes', [True, False])
@pytest.mark.parametrize('kind', ['location', 'pair'])
def test_what_a_candidate_carries_is_its_own(kind, with_boxes, picture):
    cls_scores = [torch.randn(2, 3, *size) for size in SIZES]
    centernesses = [torch.randn(2, 1, *size) for size in SIZES]
    maps = numbered_maps()
    points = [torch.cartesian_prod(torch.arange(h), torch.arange(w)).float() for h, w in SIZES]
    boxes = [level[:, 2:] for level in maps] if with_boxes else [None, None]
    found = select_candidates(
        picture,
        cls_scores,
        centernesses,
        (boxes, maps),
        points,
        PointPostprocessor(kind, nms_pre=6, score_thr=0.3),
    )
    # of the first level 6 locations with up to 3 classes each, or 6 pairs
    level = found.rows[1][:, 1]
    assert (level == 0).sum() == 6 if kind == 'pair' else (level == 0).sum() > 6
    assert torch.equal(found.rows[1][:, 2:], found.points)
    # the number of a location counts through the levels
    everywhere = flatten_levels([level[picture : picture + 1] for level in maps])
    assert torch.equal(everywhere[found.index], found.rows[1])
    assert (found.rows[1][:, 0] == picture).all()
    if with_boxes:
        assert torch.equal(found.rows[0], found.points)
    else:
        assert found.rows[0] is None
    for row, label, score in zip(found.rows[1].int().tolist(), found.labels, found.scores):
        _, number, y, x = row
        probability = cls_scores[number][picture, label, y, x].sigmoid()
        assert probability > 0.3
        centerness = centernesses[number][picture, 0, y, x].sigmoid()
        torch.testing.assert_close(score, probability * centerness)


def test_nothing_passes():
    cls_scores = [torch.full((1, 3, *size), -20.0) for size in SIZES]
    points = [torch.zeros(height * width, 2) for height, width in SIZES]
    found = select_candidates(
        0,
        cls_scores,
        [level[:, :1] for level in cls_scores],
        (numbered_maps(1), [None, None]),
        points,
        PointPostprocessor('pair'),
    )
    assert found.points.shape == (0, 2)
    assert found.scores.shape == found.labels.shape == (0,)
    assert found.rows[0].shape == (0, 4)
    assert found.rows[1] is None
