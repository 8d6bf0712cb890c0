"""Counting what is left out of training, so that nothing is lost silently."""

import logging
from collections import Counter

from mmengine.logging import print_log

__all__ = ['SkipLog']


class SkipLog:
    """Counts skips by reason and reports them at a rate that doesn't flood the log.

    The 1st, 10th, 100th, ... skip for each reason is logged as a warning with the running total,
    the rest at debug level. Loader processes count for themselves.

    Args:
        source: who skips, named in every line.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.counts: Counter[str] = Counter()

    def add(self, reason: str, what: object) -> None:
        """Count one skip.

        Args:
            reason: why, the same text for the same cause.
            what: the thing skipped, so that a user finds it: a file, an image id, an annotation id.
        """
        self.counts[reason] += 1
        count = self.counts[reason]
        loud = str(count).strip('0') == '1'
        print_log(
            f'{self.source}: skipped {what}: {reason} ({count} so far)',
            logger='current',
            level=logging.WARNING if loud else logging.DEBUG,
        )
