"""Doing a task where the worker is, and what comes of it as bytes that always arrive."""

from __future__ import annotations

import pickle

from comix_cli.scale.crew import Done, Event, Failed, Failure, Post, Said, Started

# What a worker tells of a task.
STARTED, SAID, DONE, FAILED = "started", "said", "done", "failed"


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


def event(key: str, worker: str, kind: str, content: bytes) -> Event:
    """The event that something told of a task, or returned by `attempt`, is for the crew."""
    if kind == STARTED:
        return Started(key, worker)
    if kind == SAID:
        return Said(key, worker, pickle.loads(content))
    try:
        value = pickle.loads(content)
    except Exception as error:  # a class that undoes its own pickling badly
        return Failed(key, worker, Failure.of(error))
    return Done(key, worker, value) if kind == DONE else Failed(key, worker, value)
