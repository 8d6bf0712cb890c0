"""What command lines have in common."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from polarseg.apis.checkpoint import CheckpointError
from polarseg.apis.launch import LaunchError

__all__ = ['named_errors']


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
