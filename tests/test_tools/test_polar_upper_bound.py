import importlib.util
import json
import re
import sys

import numpy as np
import pytest
from pycocotools import mask as coco_mask

NAME = 'polarseg_tool_polar_upper_bound'
SIDE = 128


@pytest.fixture(scope='module')
def tool(repo_root):
    path = repo_root / 'tools/analysis_tools/polar_upper_bound.py'
    spec = importlib.util.spec_from_file_location(NAME, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[NAME]


def disc(radius, x=64, y=64, side=SIDE):
    rows, columns = np.mgrid[:side, :side]
    return ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2).astype(np.uint8)


def annotation(mask, **changes):
    rows, columns = np.nonzero(mask)
    rle = coco_mask.encode(np.asfortranarray(mask))
    box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    entry = dict(
        image_id=1,
        segmentation=dict(size=list(mask.shape), counts=rle['counts'].decode()),
        area=int(mask.sum()),
        bbox=[int(number) for number in box],
    )
    return entry | changes


def write(path, annotations, images=({'id': 1, 'height': SIDE, 'width': SIDE},)):
    numbered = [{'id': index} | entry for index, entry in enumerate(annotations, start=1)]
    path.write_text(json.dumps(dict(images=list(images), annotations=numbered)))
    return path


def ious(tool, path, mode='exact', rays=36, size=None):
    return tool.measure(path, [mode], [rays], size).measurements[mode, rays].ious


@pytest.mark.parametrize('mode', ['binned', 'exact'])
def test_a_large_disc_is_nearly_perfect(tool, tmp_path, mode):
    path = write(tmp_path / 'a.json', [annotation(disc(40))])
    bound = tool.measure(path, [mode], [18, 90])
    assert bound.areas == [disc(40).sum()]
    few, many = bound.measurements[mode, 18], bound.measurements[mode, 90]
    # a regular 18-gon covers 98 % of its circle
    assert 0.95 < few.ious[0] < many.ious[0] < 1
    assert many.ious[0] > 0.97
    assert few.empty == [0.0]


def test_the_hole_of_a_ring_is_filled(tool, tmp_path):
    ring = disc(40) - disc(25)
    path = write(tmp_path / 'a.json', [annotation(ring)])
    assert ious(tool, path, rays=90)[0] == pytest.approx(ring.sum() / disc(40).sum(), abs=0.02)


def test_only_the_largest_part_is_reached(tool, tmp_path):
    parts = [[10, 10, 50, 10, 50, 50, 10, 50], [80, 80, 100, 80, 100, 100, 80, 100], [1, 2, 3, 4]]
    entry = dict(image_id=1, segmentation=parts, area=2000, bbox=[10, 10, 90, 90])
    path = write(tmp_path / 'a.json', [entry])
    # 40 x 40 of 40 x 40 + 20 x 20 pixels
    assert ious(tool, path, rays=360)[0] == pytest.approx(0.8, abs=0.02)


def test_polygons_and_both_kinds_of_rle_agree(tool, tmp_path):
    square = np.zeros((SIDE, SIDE), np.uint8)
    square[20:60, 30:80] = 1
    packed = annotation(square)
    polygon = packed | {'segmentation': [[30, 20, 80, 20, 80, 60, 30, 60]]}
    lengths = np.diff(np.flatnonzero(np.diff(square.T.ravel(), prepend=2, append=2)))
    plain = packed | {'segmentation': dict(size=[SIDE, SIDE], counts=lengths.tolist())}
    bound = tool.measure(
        write(tmp_path / 'a.json', [packed, polygon, plain]), ['exact', 'binned'], [36]
    )
    assert bound.areas == [2000] * 3
    for measured in bound.measurements.values():
        assert measured.ious[0] > 0.9
        assert measured.ious == measured.ious[:1] * 3


def test_exact_beats_binned_on_small_discs(tool, tmp_path):
    radii = range(5, 12)
    path = write(tmp_path / 'a.json', [annotation(disc(radius)) for radius in radii])
    bound = tool.measure(path, ['binned', 'exact'], [36])
    binned, exact = bound.measurements['binned', 36], bound.measurements['exact', 36]
    assert all(a <= b for a, b in zip(binned.ious, exact.ious))
    assert np.mean(exact.ious) > np.mean(binned.ious) + 0.05
    assert bound.centers_outside == 0
    assert exact.empty == [0.0] * len(radii)
    assert max(binned.empty) > 0.3  # 28 border pixels for 36 rays


def test_rays_from_a_centre_outside_are_empty(tool, tmp_path):
    crescent = disc(40) * (1 - disc(36, x=74))
    path = write(tmp_path / 'a.json', [annotation(crescent)])
    bound = tool.measure(path, ['exact'], [36])
    assert bound.centers_outside == 1
    # the rays that point away from the crescent
    assert 0.2 < bound.measurements['exact', 36].empty[0] < 0.5
    assert bound.measurements['exact', 36].ious[0] < 0.7


def test_filters_leave_out_and_count(tool, tmp_path, capsys):
    good = annotation(disc(8))
    scattered = np.zeros((SIDE, SIDE), np.uint8)
    scattered[10:90:10, 5] = 1
    left_out = {
        'crowd': good | {'iscrowd': 1},
        'flagged ignore': good | {'ignore': 1},
        'area is missing or no finite number': good | {'area': None},
        'area of at most 15': good | {'area': 15},
        'no box of four finite numbers': good | {'bbox': [1, 2, 3]},
        'both sides below 10 pixels': good | {'bbox': [0, 0, 9.9, 9.9]},
        'mask below 15 pixels': annotation(scattered, area=16),
        'no segmentation': good | {'segmentation': []},
        'no polygon of at least 3 points': good | {'segmentation': [[1, 2, 3, 4]]},
        'polygon with a coordinate beyond 1000000 pixels': good
        | {'segmentation': [[0, 0, 1e10, 0, 1e10, 1e10]]},
        'RLE of another size than the picture': annotation(disc(8, side=64 + SIDE)),
        'its picture is not in the file': good | {'image_id': 2},
    }
    kept = [good, good | {'area': 15.5}, good | {'bbox': [0, 0, 9, 10]}, good | {'iscrowd': 0}]
    path = write(tmp_path / 'a.json', [*kept, *left_out.values()])
    bound = tool.measure(path, ['binned'], [36])
    assert len(bound.areas) == len(kept)
    expected = {reason: [i] for i, reason in enumerate(left_out, start=len(kept) + 1)}
    assert bound.skipped == expected
    tool.main([str(path), '--rays', '36'])
    printed = re.findall(r'^skipped (\d+): (.*) \(ids (\d+)\)$', capsys.readouterr().out, re.M)
    assert {reason: [int(i)] for _, reason, i in printed} == expected
    assert {count for count, *_ in printed} == {'1'}


def test_masks_are_resized_to_the_network_size(tool, tmp_path):
    thin = np.zeros((SIDE, SIDE), np.uint8)
    thin[3, 10:110] = 1
    path = write(tmp_path / 'a.json', [annotation(disc(6)), annotation(thin)])
    assert len(tool.measure(path, ['binned'], [36]).areas) == 2
    # every fourth row is sampled, row 3 is none of them
    shrunk = tool.measure(path, ['binned'], [36], (SIDE, SIDE // 4))
    assert shrunk.skipped == {'its mask has no pixel at the network size': [2]}
    assert shrunk.areas == [disc(6).sum()]  # of the original picture, whatever the size
    assert ious(tool, path, 'binned', size=(8 * SIDE, 8 * SIDE))[0] > 0.95
    assert ious(tool, path, 'binned')[0] < 0.9


def test_one_call_of_the_operator_for_a_picture(tool, tmp_path, monkeypatch):
    calls = []

    def counted(contours, offsets, locations, instance_index, num_rays, mode):
        calls.append((len(locations), num_rays, mode))
        return real(contours, offsets, locations, instance_index, num_rays, mode)

    real = tool.polar_ray_targets
    monkeypatch.setattr(tool, 'polar_ray_targets', counted)
    images = [{'id': i, 'height': SIDE, 'width': SIDE} for i in (1, 2, 3)]
    entries = [annotation(disc(9), image_id=i) for i in (1, 3, 1, 1)]
    tool.measure(write(tmp_path / 'a.json', entries, images), ['binned', 'exact'], [18, 36])
    runs = [(mode, rays) for mode in ('binned', 'exact') for rays in (18, 36)]
    assert calls == [(count, rays, mode) for count in (3, 1) for mode, rays in runs]


def test_table_and_json_agree(tool, tmp_path, capsys):
    entries = [annotation(disc(radius)) for radius in (6, 10, 14, 40)]
    path = write(tmp_path / 'a.json', entries)
    report_file = tmp_path / 'report.json'
    options = ['--rays', '18', '36', '18', '--modes', 'exact', '--size', '256x192', '--by-area']
    tool.main([str(path), *options, '--json', str(report_file)])
    report = json.loads(report_file.read_text())
    assert report['annotations'] == 'a.json'
    assert report['size'] == [256, 192]
    assert (report['instances'], report['skipped'], report['centers_outside']) == (4, {}, 0)

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    table = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    rows = report['rows']
    assert [cells[:3] for cells in table[2:]] == [
        [row['mode'], str(row['rays']), row['area']] for row in rows
    ]
    assert [cells[6] for cells in table[2:]] == [str(row['instances']) for row in rows]
    counts = {'all': 4, 'small': 3, 'medium': 1, 'large': 0}
    assert [(row['rays'], row['area'], row['instances']) for row in rows] == [
        (rays, *item) for rays in (18, 36) for item in counts.items()
    ]
    for cells, row in zip(table[2:], rows):
        if row['instances'] == 0:
            assert row['mean_iou'] is row['median_iou'] is row['empty_rays'] is None
            assert len(set(cells[3:6])) == 1
            continue
        assert float(cells[3]) == pytest.approx(row['mean_iou'], abs=5e-5)
        assert float(cells[4]) == pytest.approx(row['median_iou'], abs=5e-5)
        assert float(cells[5].rstrip('%')) / 100 == pytest.approx(row['empty_rays'], abs=5e-4)

    measured = tool.measure(path, ['exact'], [18], (256, 192)).measurements['exact', 18].ious
    assert rows[0]['mean_iou'] == pytest.approx(np.mean(measured))
    assert rows[0]['median_iou'] == pytest.approx(np.median(measured))
    assert rows[1]['mean_iou'] == pytest.approx(np.mean(measured[:3]))
    assert rows[2]['mean_iou'] == pytest.approx(measured[3])


PICTURE = dict(id=7, height=SIDE, width=SIDE)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (None, 'cannot be read as JSON'),
        ('{"images": [', 'cannot be read as JSON'),
        ([], "no list named 'images'"),
        (dict(images=[]), "no list named 'annotations'"),
        (dict(images=[3], annotations=[]), r'images\[0\] is no object'),
        (dict(images=[PICTURE, PICTURE], annotations=[]), 'two images have the id 7'),
        (dict(images=[dict(height=3, width=3)], annotations=[]), r'images\[0\]: an id must be'),
        (dict(images=[PICTURE | {'height': None}], annotations=[]), 'image 7: height and width'),
        (dict(images=[PICTURE | {'width': 10**9}], annotations=[]), 'image 7: more than'),
        (dict(images=[], annotations=[dict(id=5)]), r'annotations\[0\] \(id 5\): image_id'),
        (dict(images=[PICTURE], annotations=[]), 'no instance left to measure .it has no annot'),
        (
            dict(images=[PICTURE], annotations=[dict(id=5, image_id=7, iscrowd=1)]),
            'no instance left to measure .crowd: 1',
        ),
    ],
)
def test_an_unusable_file_is_named(tool, tmp_path, capsys, content, said):
    path = tmp_path / 'broken.json'
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(SystemExit) as exit_info:
        tool.main([str(path)])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f'AnnotationFileError: {path}: ')
    assert re.search(said, error)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--rays', '2'], 'at least 3 rays'),
        (['--rays', '36', '50'], '50 does not divide 360'),
        (['--modes', 'radial'], 'invalid choice'),
        (['--size', '1280'], 'must be WxH'),
        (['--size', '0x768'], 'must be WxH'),
        (['--size', '99999x99999'], 'more than'),
    ],
)
def test_a_wrong_option_is_named(tool, tmp_path, capsys, options, said):
    path = write(tmp_path / 'a.json', [annotation(disc(8))])
    with pytest.raises(SystemExit) as exit_info:
        tool.main([str(path), *options])
    assert exit_info.value.code == 2
    assert said in capsys.readouterr().err


def test_any_number_of_rays_in_mode_exact(tool, tmp_path, capsys):
    path = write(tmp_path / 'a.json', [annotation(disc(8))])
    tool.main([str(path), '--rays', '50', '--modes', 'exact'])
    assert '| exact | 50 | all |' in capsys.readouterr().out


def test_an_unwritable_report_still_prints_the_table(tool, tmp_path, capsys):
    path = write(tmp_path / 'a.json', [annotation(disc(8))])
    with pytest.raises(SystemExit) as exit_info:
        tool.main([str(path), '--rays', '36', '--json', str(tmp_path / 'missing' / 'r.json')])
    assert exit_info.value.code == 2
    printed = capsys.readouterr()
    assert '| binned | 36 | all |' in printed.out
    assert 'missing' in printed.err


def test_real_outlines(tool, shared_data):
    bound = tool.measure(shared_data / 'lvis_polygons_50.json', ['binned', 'exact'], [18, 36])
    assert len(bound.areas) == 422
    assert sum(map(len, bound.skipped.values())) == 441 - 422
    binned, exact = (bound.measurements[mode, 36] for mode in ('binned', 'exact'))
    # the published rule recomputed with numpy alone
    assert np.mean(binned.ious) == pytest.approx(0.8058, abs=0.005)
    assert np.mean(exact.ious) > np.mean(binned.ious) + 0.04
    assert np.mean(exact.empty) < 0.03 < 0.1 < np.mean(binned.empty)
    for mode in ('binned', 'exact'):
        few, many = (np.mean(bound.measurements[mode, rays].ious) for rays in (18, 36))
        assert few + 0.03 < many
