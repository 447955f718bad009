"""What the Python clients of this benchmark share: so many of them in one process, against the Slack of the first argument."""

import itertools
import os
import sys

API, COUNT = sys.argv[1], int(sys.argv[2])
TOKENS = [f"xapp-1-A{app:06}-1-bench" for app in range(COUNT)]

# Listeners run on several threads; a step of it is one step of the interpreter.
handled = itertools.count()


def counted():
    """An event was handled."""
    next(handled)


def live():
    """Says `up`, and at the end of stdin how many events were handled."""
    print("up", flush=True)
    sys.stdin.read()
    print(next(handled), flush=True)
    os._exit(0)  # The clients' threads are no daemons.
