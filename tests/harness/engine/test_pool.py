"""Who gets which job when workers die: with a cluster that is played, at any order of events."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.core.errors import ModelError
from evalkit.datasets.entry import Entry
from evalkit.harness.engine.jobs import Job, Outcome
from evalkit.harness.engine.pool import Answer, ClusterError, Death, WorkerPool
from evalkit.harness.engine.ray_worker import Done
from evalkit.harness.engine.worker_facts import WorkerFacts


def job(name):
    return Job(Entry(name, Path(name), 0, "cat"), (("gradcam", ("deletion", "insertion")),))


class Queue:
    """Jobs that are all read."""

    def __init__(self, jobs):
        self.jobs = list(jobs)

    @property
    def is_over(self):
        return not self.jobs

    def take(self):
        return self.jobs.pop(0) if self.jobs else None


class Played:
    """A cluster in which every call to ``wait`` lets one thing happen.

    Args:
        kills: the names of photos that kill their worker, and how often.
        deaths: a function that says whether a worker dies now by itself.
    """

    def __init__(self, kills=(), deaths=lambda: False, seed=0, starts=lambda _number: "ready"):
        self.kills, self.deaths, self.rng, self.starts = Counter(dict(kills)), deaths, random.Random(seed), starts
        self.now, self.last = 0.0, 0
        self.calls = {}  # by worker, what it was given
        self.dead = set()
        self.begun, self.alone = Counter(), {}

    def clock(self):
        return self.now

    def start(self):
        self.last += 1
        self.calls[self.last] = []
        if self.starts(self.last) != "no room":
            self.greet(self.last)
        return self.last

    def greet(self, worker):
        self.calls[worker].append("greet")

    def give(self, worker, given):
        assert worker not in self.dead
        self.alone.setdefault(given.entry.id, []).append(not self.calls[worker])
        self.calls[worker].append(given)

    def stop(self, worker):
        self.calls.pop(worker, None)
        self.dead.add(worker)

    def why_waiting(self):
        return " (no room)"

    def wait(self, _seconds):
        self.now += 1.0
        busy = [worker for worker, calls in self.calls.items() if calls]
        if not busy:
            return []
        worker = self.rng.choice(busy)
        first = self.calls[worker][0]
        if self.starts(worker) == "dies" or self.deaths():
            return [Death(worker, "its process ended")]
        self.calls[worker].pop(0)
        if first == "greet":
            return [Answer(worker, WorkerFacts("here"))]
        name = first.entry.id
        self.begun[name] += 1
        if self.kills[name] > 0:
            self.kills[name] -= 1
            return [Death(worker, "its process ended")]
        return [Answer(worker, Done(Outcome(name), 1.0))]


def played(cluster, names, workers=2, say=lambda _: None):
    pool = WorkerPool(cluster, workers, say, clock=cluster.clock)
    return pool, list(pool.outcomes(Queue(map(job, names))))


NAMES = [f"{number}.png" for number in range(12)]


@given(st.integers(1, 4), st.integers(0, 10_000))
def test_each_job_has_one_outcome(workers, seed):
    _, outcomes = played(Played(seed=seed), NAMES, workers)
    assert Counter(outcome.image_id for outcome in outcomes) == Counter(NAMES)


@given(
    st.integers(1, 3), st.integers(0, 10_000), st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3), max_size=4)
)
def test_a_photo_that_kills_its_worker_is_tried_three_times_alone(workers, seed, kills):
    cluster = Played(kills, seed=seed)
    pool, outcomes = played(cluster, NAMES, workers)
    found = {outcome.image_id: outcome for outcome in outcomes}
    assert (len(outcomes), found.keys()) == (len(NAMES), set(NAMES))
    for name in NAMES:
        lost = kills.get(name, 0) >= 3
        reasons = {cell.reason for cell in found[name].cells}
        assert reasons == ({"the worker died 3 times on this photo: its process ended"} if lost else set())
        assert all(cell.failed for cell in found[name].cells)
        assert found[name].lost == (("gradcam",) if lost else ())
        assert all(cluster.alone[name][1:])
    assert pool.restarts == sum(kills.values())


@given(st.integers(1, 3), st.integers(0, 10_000))
def test_workers_that_die_at_random_lose_nothing(workers, seed):
    rng = random.Random(seed)
    cluster = Played(deaths=lambda: rng.random() < 0.08, seed=seed)
    try:
        _, outcomes = played(cluster, NAMES, workers)
    except ClusterError:  # three in a row died while they started: also possible
        return
    assert Counter(outcome.image_id for outcome in outcomes) == Counter(NAMES)


@pytest.mark.parametrize("seed", range(5))
def test_a_retry_waits_for_an_answer_after_the_death(seed):
    cluster = Played({"0.png": 1}, seed=seed)
    order = []
    give, wait = cluster.give, cluster.wait

    def watched(seconds):
        events = wait(seconds)
        order.extend((type(event).__name__, event.worker) for event in events)
        return events

    cluster.give = lambda worker, given: (order.append((given.entry.id, worker)), give(worker, given))
    cluster.wait = watched
    played(cluster, NAMES[:1], workers=2)
    death = next(index for index, (what, _) in enumerate(order) if what == "Death")
    again = next(index for index, (what, _) in enumerate(order) if what == "0.png" and index > death)
    assert ("Answer", order[again][1]) in order[death:again]


def test_an_error_that_stops_the_run_is_raised():
    cluster = Played()
    cluster.wait = lambda _: [Answer(cluster.last, ModelError("too little memory"))]
    with pytest.raises(ModelError, match="too little memory"):
        played(cluster, NAMES)


def test_workers_that_cannot_start_end_the_run():
    with pytest.raises(ClusterError, match=r"3 workers died while they started .its process ended.*repeat the command"):
        played(Played(starts=lambda _: "dies"), NAMES)


def test_one_worker_that_cannot_start_is_left_out():
    said = []
    pool, outcomes = played(Played(starts=lambda number: "ready" if number == 1 else "dies"), NAMES, 2, said.append)
    assert len(outcomes) == len(NAMES)
    assert (pool.n_wanted, said) == (1, ["a worker cannot be started (its process ended); going on with 1"])


def test_a_worker_without_room_blocks_nothing():
    pool, outcomes = played(Played(starts=lambda number: "ready" if number == 1 else "no room"), NAMES, 3)
    assert (len(outcomes), pool.n_wanted) == (len(NAMES), 3)


def test_no_room_for_any_worker_is_said():
    with pytest.raises(ClusterError, match=r"no worker was ready after 12\d s \(no room\); results so far are kept"):
        played(Played(starts=lambda _: "no room"), NAMES, 3)


def test_efficiency_is_the_share_of_busy_time():
    pool, _ = played(Played(), NAMES, 1)
    assert pool.efficiency == pytest.approx(1.0, abs=0.1)
