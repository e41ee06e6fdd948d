"""The app that the command line's tests name."""

from jobkit import JobKit
from tests.kit.app import QUEUES, Stage


def create_kit() -> JobKit:
    """Make the kit, on the server that the environment names."""
    return JobKit(queues=QUEUES, processors=Stage().processors())


not_a_kit = 3
