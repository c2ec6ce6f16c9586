"""Warm interpreters: processes of the tests that need not import Prefect and torch each anew.

`python -m flows ...` and `python -m training ...` spend more time on imports than the tiny studies
of the tests give them to do. Where the environment names a folder of warm interpreters, such a
process hands itself over when it starts (`client.py`, by way of a `sitecustomize.py`): its words,
environment, folder and open files go to an interpreter that has imported everything, which forks
(`__main__.py`), and the fork runs the module as `python -m` does. The process that was started
stays: it passes signals on, and ends as the fork ends, with the same exit code or by the same
signal. If it is killed, the fork is.

What is not as in a process of its own: the imports, the allocator's settings, the process id that
is noted in locks and heartbeats, and that a stopped process (SIGSTOP) does not stop its fork. So
what a test kills or stops is never warm (`Works.start`), nor what brings variables of Prefect.
"""

FOLDER = "TESTS_WARM"
"""Environment variable: where the sockets are, one for each module."""
