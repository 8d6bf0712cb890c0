"""demo/image_demo.py: drawings and one COCO file; what cannot be read costs nothing else."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from tiny_detector import ROOT, environment

from polarseg.apis import InstanceInferencer, prepare_config
from polarseg.registry import MODELS

CONFIG = ROOT / 'configs/shapes/polarmask_r18_shapes.py'
TOOL = ROOT / 'demo/image_demo.py'
# an untrained model's scores lie about 0.5
OPTIONS = 'model.test_cfg.score_thr=0.0', 'model.test_cfg.max_per_img=6'


def write_picture(path, seed=0, height=64, width=96):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


def cut(path, fraction):
    """Keep the first part of a file, as a broken download leaves it."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    state_dict = MODELS.build(prepare_config(CONFIG).model).state_dict()
    file = tmp_path_factory.mktemp('checkpoint') / 'epoch_1.pth'
    meta = dict(dataset_meta=dict(classes=('round', 'flat', 'sharp')))
    torch.save(dict(state_dict=state_dict, meta=meta), file)
    return file


@pytest.fixture
def demo(monkeypatch, capsys, checkpoint):
    """The command in this process: (exit code, standard output, standard error)."""
    spec = importlib.util.spec_from_file_location('image_demo', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(source, out_dir, *arguments, weights=checkpoint):
        line = [TOOL, source, CONFIG, weights, '--out-dir', out_dir, '--device', 'cpu', *arguments]
        monkeypatch.setattr(sys, 'argv', [*map(str, line), '--cfg-options', *OPTIONS])
        code = 0
        try:
            module.main()
        except SystemExit as end:
            # what the interpreter makes of sys.exit('text')
            code = end.code if isinstance(end.code, int) else 1
            if code == 1:
                print(end.code, file=sys.stderr)
        return code, *capsys.readouterr()

    return call


def drawings(out_dir):
    return sorted(str(path.relative_to(out_dir)) for path in out_dir.rglob('*.png'))


def results(out_dir):
    return COCO(str(out_dir / 'predictions.json'))


def test_folder_with_broken_pictures(tmp_path, checkpoint):
    folder, out = tmp_path / 'pictures', tmp_path / 'out'
    good = [write_picture(folder / name, seed) for seed, name in enumerate(('a.png', 'd.jpg'))]
    broken = [
        cut(write_picture(folder / 'b.png'), 0.5),
        cut(write_picture(folder / 'c.jpg'), 0.02),
        folder / 'e.bmp',
    ]
    broken[2].write_text('no picture')
    line = [sys.executable, TOOL, folder, CONFIG, checkpoint, '--out-dir', out, '--batch-size', 2]
    done = subprocess.run(
        [*map(str, line), '--device', 'cpu', '--cfg-options', *OPTIONS],
        env=environment(OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert 'Traceback' not in done.stderr
    assert drawings(out) == ['a.png.png', 'd.jpg.png']
    for name in drawings(out):
        assert cv2.imread(str(out / name)).shape == (320, 480, 3)
    coco = results(out)
    assert [image['file_name'] for image in coco.imgs.values()] == [str(path) for path in good]
    assert len(coco.anns) == 12
    assert {category['name'] for category in coco.cats.values()} == {'round', 'flat', 'sharp'}
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('skipped 3 of 5')
    for path in broken:
        assert str(path) in last
        assert done.stderr.count(f'skipped: {path}: not a picture') == 1
    assert f'12 instances in 2 pictures -> {out}/predictions.json' in done.stdout
    assert f'{good[0]}: 6 instances -> {out}/a.png.png' in done.stdout


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tif', 'bmp'])
@pytest.mark.parametrize('fraction', [0.9, 0.5])
def test_header_that_promises_too_much(demo, tmp_path, suffix, fraction):
    # OpenCV takes each of these for a picture until it decodes it
    broken = cut(write_picture(tmp_path / f'in/b.{suffix}'), fraction)
    assert cv2.haveImageReader(str(broken))
    if cv2.imdecode(np.frombuffer(broken.read_bytes(), np.uint8), cv2.IMREAD_COLOR) is not None:
        pytest.skip(f'this OpenCV decodes the first part of a {suffix} file')
    write_picture(tmp_path / 'in/a.png')
    write_picture(tmp_path / 'in/c.png')
    code, _, err = demo(tmp_path / 'in', tmp_path / 'out')
    assert code == 1
    assert str(broken) in err.splitlines()[-1]
    assert drawings(tmp_path / 'out') == ['a.png.png', 'c.png.png']
    assert len(results(tmp_path / 'out').imgs) == 2


def test_one_picture(demo, tmp_path):
    one = write_picture(tmp_path / 'one.jpg')
    code, out, _ = demo(one, tmp_path / 'new/out')
    assert code == 0
    assert drawings(tmp_path / 'new/out') == ['one.jpg.png']
    assert '6 instances in 1 pictures' in out


def test_equal_names_do_not_overwrite_each_other(demo, tmp_path):
    paths = ('a.png', 'a.jpg', 'x/a.png', 'x/y/a.png', 'z/a.png')
    for seed, name in enumerate(paths):
        write_picture(tmp_path / 'in' / name, seed, 32 + 16 * seed)
    code, _, _ = demo(f'{tmp_path}/in/**/*.*', tmp_path / 'out')
    assert code == 0
    assert drawings(tmp_path / 'out') == sorted(f'{name}.png' for name in paths)
    heights = [cv2.imread(str(tmp_path / 'out' / f'{name}.png')).shape[0] for name in paths]
    assert len(set(heights)) == len(paths)


def test_relative_paths_that_go_up(demo, tmp_path, monkeypatch):
    write_picture(tmp_path / 'in/a.png')
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    assert demo('../in', Path('out'))[0] == 0
    assert drawings(tmp_path / 'here/out') == ['a.png.png']


def test_sources_are_never_overwritten(demo, tmp_path):
    picture = write_picture(tmp_path / 'a.png')
    before = picture.read_bytes()
    assert demo(tmp_path, tmp_path)[0] == 0
    assert picture.read_bytes() == before


def test_threshold(demo, tmp_path):
    write_picture(tmp_path / 'a.png')
    demo(tmp_path / 'a.png', tmp_path / 'all', '--score-thr', '0')
    scores = sorted(item['score'] for item in results(tmp_path / 'all').anns.values())
    assert len(scores) == 6
    middle = (scores[2] + scores[3]) / 2
    code, out, _ = demo(tmp_path / 'a.png', tmp_path / 'some', '--score-thr', str(middle))
    assert code == 0
    assert ': 3 instances ->' in out
    kept = [item['score'] for item in results(tmp_path / 'some').anns.values()]
    assert sorted(kept) == scores[3:]
    demo(tmp_path / 'a.png', tmp_path / 'none', '--score-thr', '5')
    assert len(results(tmp_path / 'none').anns) == 0
    pictures = [cv2.imread(str(tmp_path / kind / 'a.png.png')) for kind in ('all', 'some', 'none')]
    plain = cv2.resize(
        cv2.imread(str(tmp_path / 'a.png')), None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC
    )
    np.testing.assert_array_equal(pictures[2], plain)
    counts = [(drawn != plain).any(axis=2).sum() for drawn in pictures]
    assert counts[0] > counts[1] > counts[2] == 0


def test_nothing_can_be_read(demo, tmp_path):
    (tmp_path / 'a.png').write_text('no picture')
    code, _, err = demo(tmp_path / 'a.png', tmp_path / 'out')
    assert code == 1
    assert 'skipped 1 of 1' in err
    assert len(results(tmp_path / 'out').imgs) == 0


def test_what_does_not_exist_is_named(demo, tmp_path):
    code, _, err = demo(tmp_path / 'nothing', tmp_path / 'out')
    assert code == 1
    assert f'error: {tmp_path}/nothing: neither a picture' in err
    write_picture(tmp_path / 'a.png')
    code, _, err = demo(tmp_path / 'a.png', tmp_path / 'out', weights=tmp_path / 'no.pth')
    assert code == 1
    assert 'no.pth does not exist' in err
    code, _, err = demo(tmp_path / 'a.png', tmp_path / 'out', '--batch-size', '0')
    assert code == 1
    assert 'batch_size must be at least 1' in err
    assert not (tmp_path / 'out').exists()


def untrained(folder, name):
    """Config and checkpoint of a model with its initial weights."""
    config = ROOT / f'configs/shapes/{name}.py'
    torch.manual_seed(0)
    model = MODELS.build(prepare_config(config).model)
    model.init_weights()
    file = folder / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict()), file)
    return config, file


@pytest.fixture(scope='module')
def blendmask(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp('blendmask'), 'blendmask_V_19_slim_shapes')


def run_blendmask(monkeypatch, blendmask, source, out_dir, *arguments):
    spec = importlib.util.spec_from_file_location('image_demo', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    line = [TOOL, source, *blendmask, '--out-dir', out_dir, '--device', 'cpu', *arguments]
    monkeypatch.setattr(sys, 'argv', list(map(str, line)))
    module.main()
    return sorted(annotation['score'] for annotation in results(out_dir).anns.values())


def test_the_confidence_threshold_is_in_front_of_the_root(monkeypatch, blendmask, tmp_path):
    """Untrained, class probability and centerness are about 0.01 and 0.5."""
    picture = write_picture(tmp_path / 'a.png')
    run = [monkeypatch, blendmask, picture]
    low = run_blendmask(*run, tmp_path / 'low', '--confidence-threshold', 0.004)
    assert low
    assert all(0.004**0.5 - 1e-4 <= score < 0.2 for score in low)
    middle = sorted(low)[len(low) // 2] ** 2
    high = run_blendmask(*run, tmp_path / 'high', '--confidence-threshold', middle + 1e-5)
    assert 0 < len(high) < len(low)
    assert high[0] >= middle**0.5 - 1e-4
    drawn = run_blendmask(
        *run, tmp_path / 'drawn', '--confidence-threshold', 0.004, '--score-thr', 0.5
    )
    assert drawn == []


def test_drawn_bases(monkeypatch, blendmask, tmp_path):
    picture = write_picture(tmp_path / 'a.png')
    run_blendmask(monkeypatch, blendmask, picture, tmp_path / 'out', '--draw-bases')
    assert drawings(tmp_path / 'out') == ['a.png.bases.png', 'a.png.png']
    # two columns, two rows, a gap between
    assert cv2.imread(str(tmp_path / 'out/a.png.bases.png')).shape == (2 * 64 + 2, 2 * 96 + 2, 3)
    run_blendmask(monkeypatch, blendmask, picture, tmp_path / 'without')
    assert drawings(tmp_path / 'without') == ['a.png.png']


@pytest.fixture(scope='module')
def panoptic(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp('panoptic'), 'blendmask_panoptic_V_19_slim_shapes')


@pytest.fixture(scope='module')
def panoptic_fpn(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp('fpn'), 'panoptic-fpn_V_19_slim_shapes')


@pytest.mark.parametrize('system', ['panoptic', 'panoptic_fpn'])
def test_panoptic_map(monkeypatch, request, system, tmp_path):
    panoptic = request.getfixturevalue(system)
    picture = write_picture(tmp_path / 'a.png')
    run_blendmask(monkeypatch, panoptic, picture, tmp_path / 'out')
    assert drawings(tmp_path / 'out') == ['a.png.png']
    drawn = cv2.imread(str(tmp_path / 'out/a.png.png'))
    # stuff fills the picture; the drawing is enlarged
    assert drawn.shape[0] % 64 == 0
    assert drawn.shape[0] > 64
    plain = cv2.resize(cv2.imread(str(picture)), drawn.shape[1::-1])
    assert np.abs(drawn.astype(int) - plain).mean() > 20


def test_the_confidence_threshold_is_that_of_panoptic_instances_too(panoptic):
    config, checkpoint = panoptic
    inferencer = InstanceInferencer(config, checkpoint, 'cpu')
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    inferencer.model.bbox_head.test_cfg['score_thr'] = 0.004
    counts = []
    for threshold in (0.004, 0.9):
        inferencer.model.panoptic_fusion.instance_score_thr = threshold
        (prediction,) = inferencer([picture])
        counts.append(sum(segment.isthing for segment in prediction.panoptic.segments))
        assert inferencer.draw(prediction).ndim == 3
    assert counts[0] > counts[1] == 0


def test_classes_of_mmdets_panoptic_data_are_told_apart(panoptic, panoptic_fpn):
    """They come in one list there; categories of the results are those of the things."""
    names = []
    for config, checkpoint in (panoptic, panoptic_fpn):
        inferencer = InstanceInferencer(config, checkpoint, 'cpu')
        names.append((inferencer.classes, inferencer.stuff_classes))
    assert names[0] == names[1]
    assert (len(names[0][0]), len(names[0][1])) == (5, 5)


def test_options_that_a_model_has_no_use_for(demo, tmp_path):
    picture = write_picture(tmp_path / 'a.png')
    code, _, err = demo(picture, tmp_path / 'out', '--draw-bases')
    assert code == 1
    assert '--draw-bases needs a BlendMask' in err
    assert 'is a PolarMask' in err
    assert not (tmp_path / 'out').exists()


def test_a_threshold_in_another_place_is_not_taken_in_silence(monkeypatch, blendmask, tmp_path):
    """Detectors of two stages have a threshold for each."""
    picture = write_picture(tmp_path / 'a.png')
    config = ROOT / 'configs/shapes/mask-rcnn_V_19_slim_shapes.py'
    line = ['--confidence-threshold', 0.3]
    with pytest.raises(SystemExit, match=r'sets model.test_cfg.score_thr, which .* does not have'):
        run_blendmask(monkeypatch, (config, blendmask[1]), picture, tmp_path / 'out', *line)
