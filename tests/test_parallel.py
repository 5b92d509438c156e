"""Loops and warnings, whichever thread or process they run in."""

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

from failviz._parallel import ignoring


def test_filters_are_as_before_however_threads_take_turns():
    before = list(warnings.filters)

    def quietly(_):
        for _ in range(200):
            with ignoring(UserWarning):
                warnings.warn("not shown", UserWarning, stacklevel=1)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(quietly, range(8)))
    assert warnings.filters == before


def test_a_forked_process_does_not_wait_for_a_thread_of_its_parent():
    code = """
import os, signal, threading
from failviz._parallel import ignoring
held, done = threading.Event(), threading.Event()
def hold():
    with ignoring(UserWarning):
        held.set()
        done.wait(20)
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)
    with ignoring(UserWarning):
        os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
done.set()
os._exit(code != 0)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
