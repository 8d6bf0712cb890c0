"""InstanceVisualizer draws polygons without being told of pixels."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData

from polarseg.registry import VISUALIZERS
from polarseg.structures import BoxMaskInstances, PanopticMap, PolygonInstances, Segment
from polarseg.visualization import stuff_color

HEIGHT, WIDTH = 120, 160
CORNERS = torch.tensor(
    [[[20.0, 20], [70, 20], [70, 90], [20, 90]], [[100, 30], [150, 60], [100, 100], [90, 60]]]
)


@pytest.fixture
def draw(tmp_path, request):
    def draw(masks, scores=(0.9, 0.8), labels=(0, 1), **options):
        visualizer = VISUALIZERS.build(
            dict(type='InstanceVisualizer', name=request.node.name, line_width=1)
        )
        visualizer.dataset_meta = dict(
            classes=('cat', 'dog'), palette=[(250, 20, 20), (20, 20, 250)]
        )
        boxes = torch.zeros(len(scores), 4)
        sample = DetDataSample()
        sample.pred_instances = InstanceData(
            bboxes=boxes,
            scores=torch.tensor(scores),
            labels=torch.tensor(labels, dtype=torch.long),
            masks=masks,
        )
        picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        visualizer.add_datasample(
            'picture', picture, sample, draw_gt=False,
            out_file=str(tmp_path / 'drawn.png'), **options,
        )  # fmt: skip
        assert sample.pred_instances.masks is masks, 'drawing must not change the sample'
        return visualizer.get_image()

    return draw


@pytest.fixture
def polygons():
    return PolygonInstances(CORNERS, HEIGHT, WIDTH)


def changed(drawn):
    return (drawn != 128).any(axis=2)


def test_pixels_change_inside_the_masks(draw, polygons, tmp_path):
    drawn = draw(polygons)
    inside = polygons.to_ndarray().astype(bool)
    for mask in inside:
        assert changed(drawn)[mask].mean() > 0.95
    # the text and the outline reach a little beyond
    assert changed(drawn)[~inside.any(axis=0)].mean() < 0.2
    assert not changed(drawn)[-15:].any()
    assert (tmp_path / 'drawn.png').stat().st_size > 0


def test_polygons_are_drawn_as_their_pixels_are(draw, polygons, monkeypatch):
    # mmdet shakes the colours by chance
    monkeypatch.setattr('mmdet.visualization.local_visualizer.jitter_color', lambda color: color)
    by_polygons = draw(polygons)
    by_pixels = draw(torch.from_numpy(polygons.to_ndarray()))
    np.testing.assert_array_equal(by_polygons, by_pixels)


def test_masks_over_boxes(draw):
    boxes = torch.tensor([[20.0, 20, 71, 91], [90, 30, 150, 100]])
    masks = BoxMaskInstances(torch.ones(2, 28, 28), boxes, HEIGHT, WIDTH)
    drawn = draw(masks)
    for mask in masks.to_ndarray().astype(bool):
        assert changed(drawn)[mask].mean() > 0.95


def test_below_the_threshold_nothing_is_drawn(draw, polygons):
    drawn = draw(polygons, scores=(0.9, 0.1), pred_score_thr=0.5)
    first, second = polygons.to_ndarray().astype(bool)
    assert changed(drawn)[first].mean() > 0.95
    assert changed(drawn)[second].mean() < 0.05


def test_no_detection(draw):
    none = PolygonInstances(torch.zeros(0, 36, 2), HEIGHT, WIDTH)
    assert not changed(draw(none, scores=(), labels=())).any()


def test_instances_without_masks(draw):
    visualizer = VISUALIZERS.build(dict(type='InstanceVisualizer', name='boxes alone'))
    boxes = InstanceData(
        bboxes=torch.tensor([[20.0, 20, 70, 90]]), labels=torch.zeros(1, dtype=torch.long)
    )
    sample = DetDataSample()
    sample.pred_instances = boxes
    sample.pred_instances.scores = torch.ones(1)
    picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    visualizer.dataset_meta = dict(classes=('cat',), palette=[(250, 20, 20)])
    visualizer.add_datasample('boxes', picture, sample, draw_gt=False)
    drawn = changed(visualizer.get_image())
    assert drawn[40:80, 18:23].any()
    assert not drawn[100:].any()


def test_a_panoptic_map_is_drawn_instead_of_its_parts(draw_panoptic_sample, polygons):
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[:, 80:] = 3
    panoptic = PanopticMap(ids, [Segment(3, 2, isthing=False)])
    sample = DetDataSample()
    sample.pred_panoptic_seg = panoptic.to_pixel_data()
    alone = draw_panoptic_sample(sample)
    # the border lies one pixel before
    assert not changed(alone)[:, :79].any()
    assert changed(alone)[:, 80:].all()
    blue, green, red = stuff_color(2)
    expected = 0.5 * 128 + 0.5 * np.array([red, green, blue])
    assert alone[0, -1] == pytest.approx(expected, abs=1)

    sample.pred_instances = InstanceData(
        bboxes=torch.zeros(2, 4),
        scores=torch.tensor([0.9, 0.8]),
        labels=torch.tensor([0, 1]),
        masks=polygons,
    )
    sample.pred_sem_seg = PixelData(sem_seg=torch.ones(1, HEIGHT, WIDTH, dtype=torch.uint8))
    assert (draw_panoptic_sample(sample) == alone).all()
    assert {'pred_instances', 'pred_sem_seg'} <= set(sample.keys())


def test_panoptic_maps_of_mmdets_models(draw_panoptic_sample):
    """Class + 1000 x instance, 3 is void: drawn as the same map of ours."""
    joined = torch.full((1, HEIGHT, WIDTH), 3)
    joined[..., 80:], joined[:, 20:40, :30] = 2, 1001
    drawn = []
    for data in (
        PixelData(sem_seg=joined),
        PanopticMap.from_offset_ids(joined[0], 2, 1).to_pixel_data(),
    ):
        sample = DetDataSample()
        sample.pred_panoptic_seg = data
        drawn.append(draw_panoptic_sample(sample))
    assert changed(drawn[0])[:, 80:].all()
    assert changed(drawn[0])[25, :25].all()
    assert (drawn[0] == drawn[1]).all()


@pytest.fixture
def draw_panoptic_sample(request):
    visualizer = VISUALIZERS.build(dict(type='InstanceVisualizer', name=request.node.name))
    visualizer.dataset_meta = dict(classes=('cat', 'dog'), stuff_classes=('sky',))

    def draw(sample):
        picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        visualizer.add_datasample('picture', picture, sample, draw_gt=False)
        return visualizer.get_image()

    return draw
