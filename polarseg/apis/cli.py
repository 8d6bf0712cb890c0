"""What command lines have in common."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from polarseg.apis.checkpoint import CheckpointError
from polarseg.apis.launch import LaunchError

__all__ = ['leave_at_once', 'named_errors']


@contextmanager
def named_errors() -> Iterator[None]:
    """End with one sentence and exit code 1 on errors that are the user's to mend.

    A missing file, an unreadable checkpoint and an incomplete launch say what is wrong by
    themselves; a traceback would only bury it. Other errors keep theirs.
    """
    try:
        yield
    except (FileNotFoundError, CheckpointError, LaunchError) as error:
        sys.exit(f'error: {error}')


def leave_at_once() -> None:
    """End this process with exit code 0, output flushed, without the interpreter's teardown.

    For one of several processes that has done its work. On CPUs the teardown sometimes aborts in
    a thread of torch's process group ("terminate called without an active exception"), and the
    launcher, seeing the exit code, would call a finished run failed and stop the others.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
