"""Notices that a process of a job has died while the job waits for something else: in verl's weight sync for ever."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray

LOOK_EVERY_S = 5.0
GRACE_S = 60.0
"""How long the job has to notice it by itself, with an error that says more."""


@contextmanager
def watched(actors: Mapping[str, Any], end: Callable[[str], None] | None = None) -> Iterator[None]:
    """While inside, end this process when one of the actors has died and GRACE_S later the job still hasn't ended.

    Args:
        actors: Ray handles, by what they are called in the message.
        end: what to do instead of ending the process; it gets the message.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(actors, stop, end or _end), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(actors: Mapping[str, Any], stop: threading.Event, end: Callable[[str], None]) -> None:
    """Each actor has one call waiting; of a dead one it fails at once, of a busy one it waits for its turn."""
    asked = {name: actor.__ray_ready__.remote() for name, actor in actors.items()}
    died: dict[str, float] = {}
    while not stop.wait(LOOK_EVERY_S):
        for name, call in asked.items():
            if name not in died and ray.wait([call], timeout=0)[0]:
                try:
                    ray.get(call)
                except ray.exceptions.ActorUnavailableError:  # the network's fault; it may be back in a moment
                    asked[name] = actors[name].__ray_ready__.remote()
                except ray.exceptions.RayError as error:
                    died[name] = time.monotonic()
                    print(f"{name} has died: {error}", file=sys.stderr, flush=True)
                else:
                    asked[name] = actors[name].__ray_ready__.remote()
        if died and time.monotonic() > min(died.values()) + GRACE_S:
            end(f"error: {', '.join(died)} died, and the job would wait for it for ever; it is ended.")
            return


def _end(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
    os._exit(1)
