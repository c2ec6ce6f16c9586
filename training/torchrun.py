"""`python -m training.torchrun WORDS...`: torchrun, which ends with the exit code of its worker.

Torchrun's own is 1 however its workers ended. The process that starts it has to know: a worker
that was killed or asked to stop resumes when tried again, one that failed does not. A signal is
reported as shells do, as 128 plus its number.
"""

import sys
from collections.abc import Sequence

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

SIGNALLED = 128


def main(words: Sequence[str]) -> int:
    """Run torchrun with its own arguments; return the exit code of the worker that failed first."""
    try:
        run.main(list(words))
    except ChildFailedError as error:
        sys.stderr.write(f"{error}\n")
        code = error.get_first_failure()[1].exitcode
        return SIGNALLED - code if code < 0 else code
    except SignalException as error:
        sys.stderr.write(f"{error}\n")
        return SIGNALLED + error.sigval
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
