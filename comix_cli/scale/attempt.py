"""Doing a task where the worker is, and what comes of it as bytes that always arrive."""

from __future__ import annotations

import pickle

from comix_cli.scale.crew import Done, Failed, Failure, Post

DONE, FAILED = "done", "failed"


def attempt(
    post: Post, order: bytes, passing: type[BaseException] | tuple[()] = ()
) -> tuple[str, bytes]:
    """Do a task: `DONE` and its pickled value, or `FAILED` and a pickled `Failure`.

    Args:
        post: The worker.
        order: The pickled pair of function and arguments.
        passing: What is not the task's failure, and is raised.
    """
    try:
        work, arguments = pickle.loads(order)
        return DONE, pickle.dumps(work(post, *arguments))
    except passing:
        raise
    except BaseException as error:  # a task that calls sys.exit() has failed, too
        return FAILED, pickle.dumps(Failure.of(error))


def outcome(key: str, worker: str, kind: str, content: bytes) -> Done | Failed:
    """The event that what `attempt` has returned is for the crew."""
    try:
        value = pickle.loads(content)
    except Exception as error:  # a class that undoes its own pickling badly
        return Failed(key, worker, Failure.of(error))
    return Done(key, worker, value) if kind == DONE else Failed(key, worker, value)
