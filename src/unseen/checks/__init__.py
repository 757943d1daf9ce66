"""What every part must do, as checks that anybody can run on their own: ``check_detector(MyDetector())``.

Each check is one sentence, asked of fresh copies of the part on a small world of signals with a known answer. A check
is skipped only where the part declares the trait that excuses it. ``python -m unseen.checks`` runs them on every
registered part and prints how many passed and which were skipped, and why.
"""

from unseen.checks._suite import Check as Check
from unseen.checks._suite import CheckFailed as CheckFailed
from unseen.checks._suite import Outcome as Outcome
from unseen.checks._suite import check_calibrator as check_calibrator
from unseen.checks._suite import check_detector as check_detector
from unseen.checks._suite import check_encoder as check_encoder
from unseen.checks._suite import check_head as check_head
from unseen.checks._suite import checks_for as checks_for
from unseen.checks._suite import parametrize_with_checks as parametrize_with_checks
from unseen.checks._suite import registered as registered
from unseen.checks._world import World as World
