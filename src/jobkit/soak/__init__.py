"""`jobkit soak`: kills workers for a while, then accounts for every job.

The run enqueues jobs, lets worker processes of its own run them, kills those with SIGKILL at intervals, and in the end
compares what was acknowledged, what the jobs did (each writes it to a file) and what Redis holds.
"""

from jobkit.soak.account import Account
from jobkit.soak.plan import Plan
from jobkit.soak.run import soak

__all__ = ["Account", "Plan", "soak"]
