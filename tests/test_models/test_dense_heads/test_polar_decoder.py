"""From raw outputs to instances: places, sizes, rescaling, clamping."""

import pytest
import torch

from polarseg.models.dense_heads.dense_outputs import Candidates
from polarseg.models.dense_heads.polar_decoder import decode_candidates
from polarseg.models.task_modules import PointPostprocessor

CFG = dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10)
META = dict(img_shape=(128, 128), ori_shape=(128, 128), scale_factor=(1.0, 1.0))


def silent_maps(pictures=1, num_rays=8):
    """Outputs that find nothing: class logits of -20, sides and rays of one pixel."""
    sizes = [(16, 16), (8, 8), (4, 4)]
    return (
        [torch.full((pictures, 3, *size), -20.0) for size in sizes],
        [torch.ones(pictures, 4, *size) for size in sizes],
        [torch.full((pictures, 1, *size), 20.0) for size in sizes],
        [torch.ones(pictures, num_rays, *size) for size in sizes],
    )


def place(maps, level, row, column, label, sides, length, picture=0):
    """Let one location find an object."""
    maps[0][level][picture, label, row, column] = 3.0
    maps[1][level][picture, :, row, column] = torch.tensor(sides, dtype=torch.float32)
    maps[3][level][picture, :, row, column] = length


@pytest.fixture
def head(build_head):
    return build_head(num_rays=8)


def predict(head, maps, metas=(META,), cfg=CFG, **options):
    return head.predict_by_feat(*maps, list(metas), cfg=cfg, **options)


@pytest.mark.parametrize(('level', 'stride'), [(0, 8), (1, 16), (2, 32)])
def test_a_location_is_at_the_middle_of_its_cell(head, level, stride):
    maps = silent_maps()
    place(maps, level, 1, 2, 1, (10, 6, 12, 8), 20.0)
    (found,) = predict(head, maps)
    x, y = 2 * stride + stride // 2, stride + stride // 2
    assert found.labels.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([torch.tensor(3.0).sigmoid().item()])
    assert found.bboxes.tolist() == [[max(x - 10, 0), max(y - 6, 0), x + 12, y + 8]]
    polygon = found.masks.vertices[0]
    expected = torch.tensor([[x, y + 20], [x + 20, y], [x, y - 20], [x - 20, y]])
    torch.testing.assert_close(polygon[::2], expected.clamp(min=0).float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize(('inclusive', 'last'), [(False, (80, 60)), (True, (79, 59))])
def test_clamping_to_the_unpadded_picture(build_head, inclusive, last):
    head = build_head(num_rays=8, inclusive_boxes=inclusive)
    maps = silent_maps()
    place(maps, 0, 3, 4, 0, (500, 500, 500, 500), 500.0)
    meta = dict(META, img_shape=(60, 80), ori_shape=(60, 80))
    (found,) = predict(head, maps, [meta])
    assert found.bboxes.tolist() == [[0, 0, *last]]
    extremes = found.masks.boxes()[0]
    torch.testing.assert_close(extremes, torch.tensor([0.0, 0, 79, 59]))
    assert found.masks.to_ndarray().shape == (1, 60, 80)
    assert found.masks.to_ndarray().sum() > 0.9 * 60 * 80


@pytest.mark.parametrize('mask_nms', [False, True])
def test_rescaling_to_the_original_picture(build_head, mask_nms):
    head = build_head(num_rays=8, mask_nms=mask_nms)
    maps = silent_maps()
    place(maps, 0, 7, 7, 2, (20, 16, 20, 16), 24.0)
    place(maps, 1, 1, 5, 0, (9, 9, 9, 9), 12.0)
    meta = dict(META, img_shape=(120, 100), ori_shape=(80, 50), scale_factor=(2.0, 1.5))
    (raw,), (scaled,) = (predict(head, maps, [meta], rescale=flag) for flag in (False, True))
    assert len(raw) == len(scaled) == 2
    scale = torch.tensor([2.0, 1.5])
    torch.testing.assert_close(scaled.bboxes, raw.bboxes / scale.repeat(2))
    torch.testing.assert_close(scaled.masks.vertices, raw.masks.vertices / scale)
    assert scaled.masks.to_ndarray().shape == (2, 80, 50)
    assert raw.masks.to_ndarray().shape == (2, 120, 100)
    if mask_nms:
        torch.testing.assert_close(scaled.bboxes, scaled.masks.boxes())


def test_mask_nms_decides_by_the_polygons(build_head):
    """Two locations with the same box and polygons far apart, and the other way round."""
    maps = silent_maps()
    place(maps, 0, 4, 4, 0, (16, 16, 24, 24), 5.0)
    place(maps, 0, 5, 5, 0, (24, 24, 16, 16), 5.0)
    assert len(predict(build_head(num_rays=8), maps)[0]) == 1
    assert len(predict(build_head(num_rays=8, mask_nms=True), maps)[0]) == 2
    maps = silent_maps()
    place(maps, 0, 4, 4, 0, (3, 3, 3, 3), 60.0)
    place(maps, 0, 4, 5, 0, (3, 3, 3, 3), 60.0)
    assert len(predict(build_head(num_rays=8), maps)[0]) == 2
    assert len(predict(build_head(num_rays=8, mask_nms=True), maps)[0]) == 1


def test_without_box_branch_boxes_are_extremes(build_head):
    head = build_head(num_rays=8, with_bbox=False)
    maps = list(silent_maps())
    place(maps, 0, 8, 8, 1, (1, 1, 1, 1), 20.0)
    maps[1] = [None] * 3
    (found,) = predict(head, maps)
    torch.testing.assert_close(found.bboxes, torch.tensor([[48.0, 48, 88, 88]]), atol=1e-3, rtol=0)


def test_pictures_of_a_batch_do_not_mix(head):
    maps = silent_maps(pictures=3)
    place(maps, 0, 4, 4, 0, (8, 8, 8, 8), 9.0, picture=0)
    place(maps, 1, 5, 5, 2, (9, 9, 9, 9), 9.0, picture=2)
    found = predict(head, maps, [META] * 3)
    assert [instances.labels.tolist() for instances in found] == [[0], [], [2]]
    assert found[1].bboxes.shape == (0, 4)
    assert found[1].masks.to_ndarray().shape == (0, 128, 128)


def test_centerness_offset_and_default_test_cfg(build_head):
    head = build_head(num_rays=8)
    maps = silent_maps()
    place(maps, 0, 4, 4, 0, (8, 8, 8, 8), 9.0)
    maps[2][0][:] = 0.0
    probability = torch.tensor(3.0).sigmoid().item()
    (by_default,) = head.predict_by_feat(*maps, [META])
    assert by_default.scores.tolist() == pytest.approx([probability * (0.5 + 0.5)])
    (plain,) = predict(head, maps)
    assert plain.scores.tolist() == pytest.approx([probability * 0.5])


def test_unknown_setting_of_the_post_processor(head):
    with pytest.raises(TypeError, match='min_bbox_size'):
        predict(head, silent_maps(), cfg=dict(CFG, min_bbox_size=0))


def test_scale_factor_is_not_needed_without_resize(head):
    maps = silent_maps()
    place(maps, 0, 4, 4, 0, (8, 8, 8, 8), 9.0)
    meta = dict(img_shape=(128, 128), ori_shape=(128, 128))
    (found,) = predict(head, maps, [meta], rescale=True)
    assert found.bboxes.tolist() == [[28, 28, 44, 44]]


def test_decode_candidates_alone():
    candidates = Candidates(
        index=torch.tensor([7]),
        points=torch.tensor([[50.0, 40.0]]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([0]),
        rows=(None, torch.full((1, 4), 10.0)),
    )
    found = decode_candidates(
        candidates, dict(img_shape=(100, 100)), PointPostprocessor(), mask_nms=True
    )
    torch.testing.assert_close(found.bboxes, torch.tensor([[40.0, 30, 60, 50]]), atol=1e-3, rtol=0)
