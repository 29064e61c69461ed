"""The machine's cores, as joblib counts them for scikit-learn."""

import io
import warnings
from contextlib import redirect_stderr
from functools import cache


@cache
def count_cores() -> int:
    """The physical cores, else the logical ones; counted without a word, also for scikit-learn's later questions.

    Where neither `lscpu` nor `/proc/cpuinfo` knows the cores, as in a container without `/sys`, joblib's first count in
    a process warns and prints a traceback; the setting it recommends against that changes nothing.
    """
    from joblib import cpu_count

    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return int(cpu_count(only_physical_cores=True))
