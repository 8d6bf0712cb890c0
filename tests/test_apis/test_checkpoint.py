import functools
import http.server
import os
import pickle
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint
from torch import nn
from torch.utils.data import Dataset

import polarseg.apis  # noqa: F401  (registers the safe loaders)
from polarseg.apis import checkpoint_schemes
from polarseg.apis.checkpoint import (
    CheckpointError,
    UnsafeCheckpointError,
    find_newest_checkpoint,
    load_checkpoint_file,
    resolve_checkpoint,
)


class _Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.fit = nn.Linear(1, 1)

    def forward(self, x, y, mode='tensor'):
        return {'loss': (self.fit(x) - y).square().mean()}


class _Points(Dataset):
    metainfo = {'classes': ('a', 'b'), 'palette': np.eye(3, dtype=np.uint8)}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        x = torch.tensor([float(index)])
        return {'x': x, 'y': 2 * x + 1}


def _runner(folder, epochs, **extra):
    return Runner(
        model=_Line(),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=2,
            dataset=_Points(),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)),
        param_scheduler=[
            dict(type='MultiStepLR', milestones=[1], by_epoch=True),
            dict(type='CosineAnnealingLR', T_max=4, by_epoch=False),
            dict(type='OneCycleLR', eta_max=0.1, total_steps=20, by_epoch=False),
        ],
        custom_hooks=[dict(type='EMAHook')],
        randomness=dict(seed=0),
        experiment_name=f'{Path(folder).name}{epochs}{sorted(extra)}',
        **extra,
    )


@pytest.fixture(scope='module')
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    _runner(folder, epochs=1).train()
    return folder


def test_reads_everything_of_a_training_checkpoint(run_folder):
    path = run_folder / 'epoch_1.pth'
    checkpoint = load_checkpoint_file(path)
    trusted = torch.load(path, weights_only=False)
    assert checkpoint.keys() == trusted.keys()
    assert {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers'} <= {*checkpoint}
    assert checkpoint['meta']['dataset_meta']['classes'] == ('a', 'b')
    np.testing.assert_array_equal(checkpoint['meta']['dataset_meta']['palette'], np.eye(3))
    scalars = checkpoint['message_hub']['log_scalars']
    assert isinstance(scalars['train/loss'], HistoryBuffer)
    for name, buffer in trusted['message_hub']['log_scalars'].items():
        for ours, theirs in zip(scalars[name].data, buffer.data):
            np.testing.assert_array_equal(ours, theirs)
    assert scalars['train/loss'].mean() > 0
    one_cycle = checkpoint['param_schedulers'][2]
    assert one_cycle['anneal_func'] is trusted['param_schedulers'][2]['anneal_func']


def test_a_run_resumes(run_folder, tmp_path):
    runner = _runner(tmp_path, 3, resume=True, load_from=str(run_folder / 'epoch_1.pth'))
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 6)
    history, _ = runner.message_hub.get_scalar('train/loss').data
    assert len(history) == 6
    assert find_newest_checkpoint(tmp_path) == str(tmp_path / 'epoch_3.pth')


class _Payload:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def _attacks(marker):
    touch = f'{marker}'
    return {
        'posix.system': _Payload(os.system, f'touch {touch}'),
        'io.open': _Payload(open, touch, 'w'),
        'builtins.eval': _Payload(eval, f'open({touch!r}, "w")'),
        'pathlib.Path': _Payload(functools.partial, Path.touch, touch),
    }


@pytest.mark.parametrize('name', ['posix.system', 'io.open', 'builtins.eval', 'pathlib.Path'])
@pytest.mark.parametrize('zipped', [True, False])
def test_code_in_a_checkpoint_is_refused_and_does_not_run(tmp_path, name, zipped):
    marker, file = tmp_path / 'ran', tmp_path / 'bad.pth'
    checkpoint = {'state_dict': {'w': torch.ones(2)}, 'meta': _attacks(marker)[name]}
    torch.save(checkpoint, file, _use_new_zipfile_serialization=zipped)
    for load in (
        load_checkpoint_file,
        CheckpointLoader.load_checkpoint,
        functools.partial(load_checkpoint, nn.Linear(2, 2)),
    ):
        with pytest.raises(UnsafeCheckpointError, match='refused to load') as error:
            load(str(file))
        assert error.value.path == str(file)
        assert str(file) in str(error.value)
        last = name.rsplit('.', 1)[1]
        assert last in error.value.refused or 'partial' in error.value.refused
        assert not marker.exists()


def test_the_payload_would_have_run(tmp_path):
    marker, file = tmp_path / 'ran', tmp_path / 'bad.pth'
    torch.save({'meta': _attacks(marker)['posix.system']}, file)
    torch.load(file, weights_only=False)
    assert marker.exists()


def test_a_plain_pickle_is_refused(tmp_path):
    marker, file = tmp_path / 'ran', tmp_path / 'bad.pth'
    file.write_bytes(pickle.dumps(_attacks(marker)['posix.system'], protocol=2))
    with pytest.raises(CheckpointError, match=r'bad\.pth'):
        load_checkpoint_file(file)
    assert not marker.exists()


@pytest.mark.parametrize(
    ('owner', 'name'),
    [(HistoryBuffer, '__init__'), (np.ndarray, 'tofile'), (HistoryBuffer.mean, '__globals__')],
)
def test_getattr_reaches_nothing_but_the_listed_methods(tmp_path, owner, name):
    file = tmp_path / 'bad.pth'
    torch.save({'method': _Payload(getattr, owner, name)}, file)
    with pytest.raises(UnsafeCheckpointError, match=name):
        load_checkpoint_file(file)


def test_objects_in_arrays_are_refused(tmp_path):
    file = tmp_path / 'objects.pth'
    torch.save({'array': np.array([{}, None], dtype=object)}, file)
    with pytest.raises(UnsafeCheckpointError, match='ObjectDType'):
        load_checkpoint_file(file)


@pytest.mark.parametrize('dtype', ['?', 'i1', 'u8', 'f2', 'f8', 'c16', 'U3', 'S3', '>f4'])
def test_arrays_and_scalars_of_every_kind(tmp_path, dtype):
    file = tmp_path / 'numbers.pth'
    array = np.arange(3).astype(dtype)
    torch.save({'array': array, 'scalar': array[1]}, file)
    loaded = load_checkpoint_file(file)
    np.testing.assert_array_equal(loaded['array'], array)
    assert loaded['array'].dtype == array.dtype.newbyteorder('=')
    assert loaded['scalar'] == array[1]


def test_names_of_numpy_1_are_read(tmp_path):
    # What numpy 1 wrote: the same functions under numpy.core instead of numpy._core.
    file, old = tmp_path / 'new.pth', tmp_path / 'old.pth'
    torch.save({'a': np.arange(3)}, file, _use_new_zipfile_serialization=False)
    data = file.read_bytes()
    assert b'numpy._core.multiarray' in data
    old.write_bytes(data.replace(b'numpy._core.multiarray', b'numpy.core.multiarray'))
    np.testing.assert_array_equal(load_checkpoint_file(old)['a'], np.arange(3))


class _Extra:
    pass


def test_what_the_user_allows_is_read_and_stays_allowed(tmp_path):
    file = tmp_path / 'extra.pth'
    torch.save({'extra': _Extra()}, file)
    with pytest.raises(UnsafeCheckpointError, match='_Extra'):
        load_checkpoint_file(file)
    before = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([_Extra, HistoryBuffer]):
        assert isinstance(load_checkpoint_file(file)['extra'], _Extra)
        assert {_Extra, HistoryBuffer} <= {*torch.serialization.get_safe_globals()}
    assert {*torch.serialization.get_safe_globals()} == {*before} - {HistoryBuffer}


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', b'PK\x03\x04 cut off'])
def test_damaged_files_are_named(tmp_path, content):
    file = tmp_path / 'damaged.pth'
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'damaged\.pth: cannot be read'):
        load_checkpoint_file(file)


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_pickles_of_arrays_are_refused_with_advice(tmp_path, protocol):
    file = tmp_path / 'R-50.pkl'
    content = dict(model={'stem.conv1.weight': np.zeros((2, 3), np.float32)}, __author__='x')
    file.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(
        CheckpointError, match=r'R-50\.pkl: is a plain pickle of numpy arr'
    ) as error:
        load_checkpoint_file(file)
    assert not isinstance(error.value, UnsafeCheckpointError)
    (code,) = re.findall(r'python -c "(.+?)"', str(error.value))
    new = tmp_path / 'new.pth'
    exec(code.replace('FILE', str(file)).replace('NEW.pth', str(new)))  # what it advises works
    loaded = load_checkpoint_file(new)
    assert loaded['model']['stem.conv1.weight'].shape == (2, 3)
    # other pickles get no advice that does not fit them
    file.write_bytes(pickle.dumps(dict(model=[1, 2, 3]), protocol=protocol))
    with pytest.raises(CheckpointError, match='cannot be read as a checkpoint'):
        load_checkpoint_file(file)


def test_a_truncated_checkpoint_is_named(run_folder, tmp_path):
    file = tmp_path / 'cut.pth'
    file.write_bytes((run_folder / 'epoch_1.pth').read_bytes()[:-500])
    with pytest.raises(CheckpointError, match=r'cut\.pth'):
        load_checkpoint_file(file)


def test_other_content_and_missing_files(tmp_path):
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='holds a list'):
        load_checkpoint_file(tmp_path / 'list.pth')
    with pytest.raises(FileNotFoundError, match=r'nowhere\.pth'):
        load_checkpoint_file(tmp_path / 'nowhere.pth')


def test_every_scheme_of_mmengine_is_replaced():
    modules = {loader.__module__ for loader in CheckpointLoader._schemes.values()}
    assert modules == {checkpoint_schemes.__name__}


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    files = tmp_path / 'served'
    files.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    requests = []
    handler = functools.partial(Quiet, directory=str(files))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield files, f'http://127.0.0.1:{http_server.server_port}', requests
        http_server.shutdown()
        thread.join()


def test_downloads_are_cached_and_read_safely(server, tmp_path):
    files, address, requests = server
    torch.save({'weight': torch.ones(2)}, files / 'good.pth')
    torch.save({'meta': _attacks(tmp_path / 'ran')['posix.system']}, files / 'bad.pth')
    for _ in range(2):
        loaded = CheckpointLoader.load_checkpoint(f'{address}/good.pth')
        assert loaded['weight'].tolist() == [1, 1]
    assert requests == ['/good.pth']
    with pytest.raises(UnsafeCheckpointError, match=r'bad\.pth'):
        CheckpointLoader.load_checkpoint(f'{address}/bad.pth')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    ('name', 'table', 'weights'),
    [
        ('torchvision://resnet50', None, {'conv1.weight'}),
        ('open-mmlab://tiny', 'get_external_models', {'conv1.weight'}),
        ('mmcls://tiny', 'get_mmcls_models', {'state_dict'}),
    ],
)
def test_names_of_model_zoos(server, monkeypatch, name, table, weights):
    files, address, _ = server
    content = {'conv1.weight': torch.ones(1)}
    if name.startswith('mmcls'):
        content = {'state_dict': {'backbone.conv1.weight': torch.ones(1), 'head.fc': torch.ones(1)}}
    torch.save(content, files / 'tiny.pth')
    if table is None:
        monkeypatch.setattr(
            checkpoint_schemes.mmengine, 'load', lambda _: {'resnet50': f'{address}/tiny.pth'}
        )
    else:
        monkeypatch.setattr(
            checkpoint_schemes.mm_checkpoint, table, lambda: {'tiny': f'{address}/tiny.pth'}
        )
    loaded = CheckpointLoader.load_checkpoint(name)
    assert set(loaded) == weights
    if name.startswith('mmcls'):
        assert set(loaded['state_dict']) == {'conv1.weight'}


def test_unknown_names_and_schemes():
    with pytest.raises(KeyError, match='open-mmlab://no-such-model'):
        CheckpointLoader.load_checkpoint('open-mmlab://no-such-model')
    with pytest.raises(NotImplementedError, match='pavi'):
        CheckpointLoader.load_checkpoint('pavi://x')


def _touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for age, name in enumerate(names):
        (folder / name).write_bytes(b'')
        os.utime(folder / name, (1_000_000 + age, 1_000_000 + age))


@pytest.mark.parametrize(
    ('files', 'newest'),
    [
        (['epoch_10.pth', 'epoch_9.pth', 'best_coco_epoch_11.pth'], 'epoch_10.pth'),
        (['iter_500.pth', 'iter_1000.pth'], 'iter_1000.pth'),
        (['epoch_3.pth', 'iter_20.pth'], 'iter_20.pth'),
        (['iter_20.pth', 'epoch_3.pth', 'epoch_final.pth'], 'epoch_3.pth'),
        (['b.pth', 'a.pth'], 'a.pth'),
        (['log.txt'], None),
    ],
)
def test_newest_by_number_else_by_time(tmp_path, files, newest):
    _touch(tmp_path, *files)
    expected = None if newest is None else str(tmp_path / newest)
    assert find_newest_checkpoint(tmp_path) == expected


def test_last_checkpoint_decides_also_after_a_move(tmp_path):
    _touch(tmp_path / 'run', 'epoch_1.pth', 'epoch_2.pth')
    record = tmp_path / 'run' / 'last_checkpoint'
    record.write_text('/elsewhere/epoch_1.pth')
    assert find_newest_checkpoint(tmp_path / 'run') == str(tmp_path / 'run/epoch_1.pth')
    record.write_text('/elsewhere/epoch_7.pth')
    assert find_newest_checkpoint(tmp_path / 'run') == str(tmp_path / 'run/epoch_2.pth')
    _touch(tmp_path / 'other', 'epoch_9.pth')
    record.write_text(str(tmp_path / 'other/epoch_9.pth'))
    assert find_newest_checkpoint(tmp_path / 'run') == str(tmp_path / 'other/epoch_9.pth')
    record.write_text('')
    assert find_newest_checkpoint(tmp_path / 'run') == str(tmp_path / 'run/epoch_2.pth')


def test_resolve_checkpoint(tmp_path, monkeypatch):
    _touch(tmp_path / 'run', 'epoch_2.pth')
    assert resolve_checkpoint(tmp_path / 'run/latest.pth') == str(tmp_path / 'run/epoch_2.pth')
    assert resolve_checkpoint(tmp_path / 'run') == str(tmp_path / 'run/epoch_2.pth')
    monkeypatch.chdir(tmp_path / 'run')
    assert resolve_checkpoint('latest.pth') == 'epoch_2.pth'
    assert resolve_checkpoint('https://x/latest.pth') == 'https://x/latest.pth'
    _touch(tmp_path / 'run', 'latest.pth')
    assert resolve_checkpoint('latest.pth') == 'latest.pth'


def test_resolve_names_what_is_missing(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=f'in the folder {tmp_path}/empty'):
        resolve_checkpoint(tmp_path / 'empty' / 'latest.pth')
    with pytest.raises(FileNotFoundError, match=f'in the folder {tmp_path}/nowhere'):
        resolve_checkpoint(tmp_path / 'nowhere' / 'latest.pth')
    with pytest.raises(FileNotFoundError, match=r'epoch_5\.pth does not exist'):
        resolve_checkpoint(tmp_path / 'empty' / 'epoch_5.pth')
