# SPDX-License-Identifier: Apache-2.0
"""Programs that are run with a deadline, and never left behind."""
import os
import signal
import subprocess
import sys


class Failure(Exception):
    """What ends the comparison; the message is for its user."""


def run(command, seconds, *, shows_output=False, **options):
    """Runs a command, and returns what it wrote to its standard output.

    In a process group of its own, which is ended at the deadline, and whatever else happens here.
    """
    name = " ".join(os.path.basename(part) if part.startswith("/") else part for part in command[:4])
    output = sys.stderr if shows_output else subprocess.PIPE
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, text=True, **options)
    except OSError as error:
        raise Failure(f"{name}: {error}") from None
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failure(f"{name}: not done after {seconds} s") from None
    finally:
        if child.returncode is None:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
    if child.returncode != 0:
        raise Failure(f"{name}: status {child.returncode}" + (f"\n{(err or out).strip()}" if err or out else ""))
    return out


def output_or(command, otherwise="unknown", **options):
    """For versions, which nothing depends on."""
    try:
        return run(command, 60, **options).strip() or otherwise
    except Failure:
        return otherwise
