"""What is left out is counted for each reason, and reported without a flood."""

import logging

import pytest

from polarseg.datasets.skip_log import SkipLog


@pytest.fixture
def lines(monkeypatch):
    """(level, text) of what is logged."""
    collected = []

    def keep(text, logger, level):
        assert logger == 'current'
        collected.append((level, text))

    monkeypatch.setattr('polarseg.datasets.skip_log.print_log', keep)
    return collected


def test_counts_for_each_reason(lines):
    log = SkipLog('Loader')
    for number in range(3):
        log.add('too small', f'instance {number}')
    log.add('no pixel', 'instance 7 of image 3')
    assert dict(log.counts) == {'too small': 3, 'no pixel': 1}
    assert lines[-1] == (
        logging.WARNING,
        'Loader: skipped instance 7 of image 3: no pixel (1 so far)',
    )


def test_the_powers_of_ten_are_loud(lines):
    log = SkipLog('Loader')
    for _ in range(1100):
        log.add('too small', 'x')
    loud = [text for level, text in lines if level == logging.WARNING]
    assert len(lines) == 1100
    assert [int(text.split('(')[1].split()[0]) for text in loud] == [1, 10, 100, 1000]
    assert {level for level, _ in lines} == {logging.WARNING, logging.DEBUG}


def test_it_reaches_mmengines_logger():
    from mmengine.logging import MMLogger

    records = []
    handler = logging.Handler(level=logging.WARNING)
    handler.emit = records.append
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        SkipLog('Loader').add('too small', 'image 5')
    finally:
        logger.removeHandler(handler)
    assert ['image 5' in record.getMessage() for record in records] == [True]
