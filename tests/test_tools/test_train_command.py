import importlib.util
import re
import socket
import sys

import pytest
import torch
from mmengine.config import Config
from tiny_detector import ROOT, forget_runs, run, write_project

from polarseg.apis import load_checkpoint_file, run_training

FAKE_SRUN = """#!/bin/sh
# Runs the tasks of one machine as srun would.
printf '%s\\n' "$@" > "$SRUN_LOG"
tasks=1
while [ $# -gt 0 ]; do
    case "$1" in
        --ntasks=*) tasks=${1#--ntasks=} ;;
        -*) ;;
        *) break ;;
    esac
    shift
done
task=0
running=
while [ "$task" -lt "$tasks" ]; do
    SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_NTASKS=$tasks SLURM_NNODES=1 \\
        SLURM_NODELIST='here[1-1]' SLURM_CPUS_PER_TASK=1 "$@" &
    running="$running $!"
    task=$((task + 1))
done
status=0
for process in $running; do
    wait "$process" || status=1
done
exit $status
"""


def load_tool(name):
    spec = importlib.util.spec_from_file_location(
        f'polarseg_tool_{name}', ROOT / f'tools/{name}.py'
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def losses(output):
    """{(epoch, iteration): loss} of a log."""
    lines = re.findall(r'Epoch\(train\)\s+\[(\d+)\]\[(\d+)/\d+\].* loss: ([\d.]+|nan)', output)
    return {(int(epoch), int(step)): float(loss) for epoch, step, loss in lines}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The PolarMask paper's line for several GPUs, run from a folder of its own."""
    folder = tmp_path_factory.mktemp('train')
    write_project(folder)
    (folder / 'elsewhere').mkdir()
    arguments = ['../tiny.py', '2', '--launcher', 'pytorch', '--work_dir', '../work dir']
    script = ROOT / 'tools/dist_train.sh'
    output = run(['sh', script, *arguments, '--seed', '0'], cwd=folder / 'elsewhere')
    return folder, output


def test_dist_train_trains_in_two_processes(trained):
    folder, output = trained
    assert 'GPU number: 2' in output
    assert losses(output).keys() == {(1, 1), (1, 2), (1, 3)}  # 6 pictures, 2 processes
    assert all(0 < loss < 100 for loss in losses(output).values())
    assert 'coco/bbox_mAP' in output  # val_cfg: validated without --validate
    checkpoint = load_checkpoint_file(folder / 'work dir/epoch_1.pth')
    assert checkpoint['meta']['seed'] == 0
    state = checkpoint['state_dict']
    assert state['backbone.bn1.num_batches_tracked'] == 3  # the synchronised layers were used
    assert not torch.equal(state['backbone.bn1.running_mean'], torch.zeros(8))


def test_slurm_train_resumes_the_newest_checkpoint(trained, tmp_path):
    folder, _ = trained
    srun = tmp_path / 'bin/srun'
    srun.parent.mkdir()
    srun.write_text(FAKE_SRUN)
    srun.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = str(probe.getsockname()[1])
    environment = {
        'PATH': f'{srun.parent}:/usr/bin:/bin',
        'SRUN_LOG': str(tmp_path / 'log'),
        'SRUN_ARGS': '--exclusive --mem=4G',
        'GPUS': '2',
        'CPUS_PER_TASK': '3',
        'MASTER_PORT': port,
    }
    more = ['--resume_from', 'work dir/latest.pth', '--options', 'train_cfg.max_epochs=2']
    work_dir = tmp_path / 'resumed'
    line = ['sh', ROOT / 'tools/slurm_train.sh', 'gpu', 'my job', 'tiny.py', work_dir, *more]
    output = run(line, cwd=folder, **environment)
    assert 'resumed epoch: 1, iter: 3' in output
    assert losses(output).keys() == {(2, 1), (2, 2), (2, 3)}
    checkpoint = load_checkpoint_file(work_dir / 'epoch_2.pth')
    assert (checkpoint['meta']['epoch'], checkpoint['meta']['iter']) == (2, 6)
    assert len(checkpoint['message_hub']['log_scalars']['train/loss'].data[0]) == 6
    words = (tmp_path / 'log').read_text().splitlines()
    assert words[: words.index(sys.executable)] == [
        '--partition=gpu',
        '--job-name=my job',
        '--gres=gpu:2',
        '--ntasks=2',
        '--ntasks-per-node=2',
        '--cpus-per-task=3',
        '--kill-on-bad-exit=1',
        '--exclusive',
        '--mem=4G',
    ]
    assert '--launcher=slurm' in words


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Run tools/train.py in this process; returns the runner."""
    config = write_project(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    monkeypatch.chdir(tmp_path)
    tool = load_tool('train')
    runners = []
    monkeypatch.setattr(tool, 'run_training', lambda cfg: runners.append(run_training(cfg)))

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['train.py', str(config), *arguments])
        forget_runs()
        tool.main()
        return runners[-1]

    yield call
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def test_one_process_with_amp_and_old_options(train, tmp_path):
    runner = train(
        *('--amp', '--seed', '7', '--deterministic', '--validate', '--gpus', '1'),
        *('--autoscale-lr', '--work-dir', 'out'),
        *('--cfg-options', 'train_cfg.max_epochs=1', 'val_cfg=None', 'val_dataloader=None'),
        *('val_evaluator=None', 'auto_scale_lr.base_batch_size=2', 'param_scheduler=None'),
    )
    cuda = torch.cuda.is_available()
    kind = 'AmpOptimWrapper' if cuda else 'CpuAmpOptimWrapper'
    assert type(runner.optim_wrapper).__name__ == kind
    with runner.optim_wrapper.optim_context(runner.model):
        weight = torch.ones(2, 2, device='cuda' if cuda else 'cpu')
        assert (weight @ weight).dtype == (torch.float16 if cuda else torch.bfloat16)
    assert (runner.epoch, runner.iter) == (1, 6)
    assert runner.seed == 7
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert runner.optim_wrapper.get_lr()['lr'] == [0.005]  # batch 1 of 2
    loss, _ = runner.message_hub.get_scalar('train/loss').data
    assert len(loss) == 6
    assert (loss > 0).all()
    checkpoint = load_checkpoint_file(tmp_path / 'out/epoch_1.pth')
    weights = [value for value in checkpoint['state_dict'].values() if value.is_floating_point()]
    assert {value.dtype for value in weights} == {torch.float32}
    recorded = Config.fromfile(tmp_path / 'out/tiny.py')
    assert recorded.val_cfg is None


def test_resume_alone_starts_and_then_continues(train):
    options = ['--work_dir', 'out', '--resume', '--cfg-options', 'train_cfg.val_interval=9']
    first = train(*options, 'train_cfg.max_epochs=1')
    assert first.iter == 6
    second = train(*options, 'train_cfg.max_epochs=2')
    assert second.iter == 12
    history, _ = second.message_hub.get_scalar('train/loss').data
    assert len(history) == 12


def test_a_head_of_fewer_classes_than_the_data_stops_the_command(train):
    with pytest.raises(ValueError, match=r'has 2 classes.*bbox_head\.num_classes=1; set'):
        train('--cfg-options', 'model.bbox_head.num_classes=1')


def test_unsafe_checkpoint_stops_the_command(train, tmp_path):
    marker = tmp_path / 'ran'

    class Payload:
        def __reduce__(self):
            return open, (str(marker), 'w')

    torch.save({'state_dict': {}, 'meta': Payload()}, tmp_path / 'bad.pth')
    with pytest.raises(SystemExit, match=r'bad\.pth: refused to load'):
        train('--resume', 'bad.pth')
    assert not marker.exists()


@pytest.fixture
def parse(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    return load_tool('train').parse_args


def test_old_and_new_spellings(parse):
    for options in (
        ['--work_dir=w', '--resume_from', 'a.pth', '--options', 'x=1', '--local_rank=3'],
        ['--work-dir', 'w', '--resume', 'a.pth', '--cfg-options', 'x=1', '--local-rank', '3'],
    ):
        args = parse(['c.py', *options])
        assert (args.work_dir, args.resume, args.local_rank) == ('w', 'a.pth', 3)
        assert args.cfg_options == {'x': 1}
    args = parse(['c.py', '--resume', '--cfg-options', 'a.b=[1,2]', 'c=x,y', 'd="[(1,2)]"'])
    assert args.resume == 'auto'
    assert args.cfg_options == {'a.b': [1, 2], 'c': ['x', 'y'], 'd': [(1, 2)]}
    assert parse(['c.py', '--launcher=slurm', '--gpus', '4']).launcher == 'slurm'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--gpus', '4'], 'sh tools/dist_train.sh c.py 4'),
        (['--resume', '--resume_from', 'a.pth'], 'not allowed with'),
        (['--options', 'a=1', '--cfg-options', 'b=1'], 'not allowed with'),
        (['--work', 'w'], 'unrecognized arguments'),
    ],
)
def test_bad_usage(parse, capsys, options, message):
    with pytest.raises(SystemExit):
        parse(['c.py', *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('script', 'arguments', 'message'),
    [
        ('dist_train.sh', ['c.py'], 'CONFIG GPUS'),
        ('dist_train.sh', ['c.py', '--work_dir'], "got '--work_dir'"),
        ('dist_train.sh', ['c.py', '0'], "got '0'"),
        ('dist_test.sh', ['c.py', '4', '--eval'], "got '--eval'"),
        ('dist_test.sh', ['c.py', 'x.pth'], 'CONFIG CHECKPOINT GPUS'),
        ('slurm_train.sh', ['gpu', 'job', 'c.py'], 'PARTITION JOB_NAME CONFIG WORK_DIR'),
        ('slurm_test.sh', ['gpu', 'job', 'c.py'], 'PARTITION JOB_NAME CONFIG CHECKPOINT'),
    ],
)
def test_scripts_explain_their_arguments(script, arguments, message, tmp_path):
    output = run(['sh', ROOT / 'tools' / script, *arguments], cwd=tmp_path, expect=2)
    assert message in output
