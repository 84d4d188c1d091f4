"""Jobs and outcomes as data: a run computed by a process that got nothing but a pickled recipe and pickled jobs."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from evalkit.core.errors import ModelError
from evalkit.core.settings import merge
from evalkit.datasets.image_set import ImageSet
from evalkit.explainers.catalog import expand
from evalkit.harness.engine import driver
from evalkit.harness.engine.driver import compute
from evalkit.harness.engine.jobs import Job
from evalkit.harness.engine.local import LocalExecutor
from evalkit.harness.engine.worker import Worker
from evalkit.harness.planning.plan import Plan
from evalkit.harness.planning.prepare import prepare
from evalkit.harness.planning.recipe import ModelRecipe
from evalkit.metrics.catalog import METRICS
from evalkit.metrics.complexity import Sparseness
from evalkit.store.run_folder import RunFolder

OTHER_PROCESS = """
import pickle, sys
from evalkit.harness.engine.worker import Worker
worker = Worker(pickle.load(sys.stdin.buffer))
outcomes = [worker.do(job) for job in pickle.load(sys.stdin.buffer)]
pickle.dump(outcomes, sys.stdout.buffer)
"""
EXPLAINERS = "gradcam, cam, occlusion(patch_size=8), random, edges"
METRIC_NAMES = ("deletion", "average_drop", "pxap", "sparseness", "max_sensitivity", "random_logit", "mprt(stages=3)")


class ProcessExecutor:
    """Does all jobs in one other process, and returns their outcomes last first."""

    in_turn = False

    def __init__(self, recipe):
        self.sent = pickle.dumps(recipe)

    def outcomes(self, jobs, advance):
        given = self.sent + pickle.dumps(list(jobs))
        done = subprocess.run([sys.executable, "-c", OTHER_PROCESS], input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        yield from reversed(pickle.loads(done.stdout))  # noqa: S301

    def passes(self):
        return 0

    def status(self):
        return "1 process"

    def notes(self):
        return []


def computed(plan, path, executor=None):
    """Compute a run, and return its scores, maps and manifest."""
    folder = RunFolder.write(path)
    console = Console(file=io.StringIO())
    manifest = compute(plan, folder, console, *([] if executor is None else [lambda _plan, _say: executor]))
    rows = {
        table: list(folder.database._connection.rows(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3"))  # noqa: S608
        for table, columns in {
            "scores": "image_id, explainer, metric, value, reason, statistics, key",
            "curves": "image_id, explainer, metric, points",
            "maps": "image_id, explainer, key, sha256, size_bytes, rank_hash",
            "images": "image_id, target, predicted, clean_score, correct, place, object_share, facts_key",
        }.items()
    }
    folder.close()
    return rows, manifest


@pytest.fixture
def array_plan(tiny, photos):
    region = np.zeros((32, 32), dtype=bool)
    region[8:20, 10:24] = True
    images = ImageSet.from_arrays(photos, tiny.probabilities(photos).argmax(axis=1), regions=[region] * len(photos))
    metrics = [METRICS.build(name, steps=4) for name in METRIC_NAMES if name != "max_sensitivity"]
    metrics.append(METRICS.build("max_sensitivity(samples=2)"))
    return Plan(images, ModelRecipe.live(tiny), expand(EXPLAINERS, [], 0), metrics, "label", "squash", 4, 0, None)


def test_live_model_and_arrays_in_another_process(array_plan, tmp_path):
    local, here = computed(array_plan, tmp_path / "local")
    remote, there = computed(array_plan, tmp_path / "remote", ProcessExecutor(array_plan.work))
    assert local == remote
    assert len(local["scores"]) == 4 * 5 * len(METRIC_NAMES)
    assert here.forward_passes == there.forward_passes > 0
    assert here.backward_passes == there.backward_passes > 0


@pytest.mark.slow
def test_model_file_and_photos_in_another_process(workplace, tmp_path):
    options = merge(
        {
            "data": "labels.csv",
            "model": "tiny.keras",
            "explainers": "gradcam,occlusion(patch_size=8),random",
            "metrics": "deletion,pointing_game,mprt",
            "steps": 4,
            "precision": "float32",
        }
    )
    plan = prepare(options, lambda _: None)
    local, _ = computed(plan, tmp_path / "local")
    remote, _ = computed(plan, tmp_path / "remote", ProcessExecutor(plan.work))
    assert local == remote
    assert any(row[3] is not None for row in local["scores"])


def test_plan_is_data(array_plan):
    again = pickle.loads(pickle.dumps(array_plan))  # noqa: S301
    assert again.score_keys == array_plan.score_keys
    assert again.signatures() == array_plan.signatures()
    assert again.model._built is None or again.model._built is not array_plan.model._built


def test_recipe_refuses_another_model(array_plan):
    state = array_plan.model.__getstate__()
    other = object.__new__(ModelRecipe)
    other.__dict__.update({**state, "fingerprint": "0" * 64})
    with pytest.raises(ModelError, match="is not the one that the run was planned with"):
        other.build()


def test_unreadable_photo_comes_back_as_a_problem(workplace):
    options = merge({"data": "labels.csv", "model": "tiny.keras", "explainers": "random", "metrics": "sparseness"})
    plan = prepare(options, lambda _: None)
    entry = plan.images.entries[0]
    entry.path.write_bytes(b"no photo")
    (outcome,) = LocalExecutor(plan.work).outcomes([Job(entry, (("random", ("sparseness",)),))], lambda *_: None)
    assert outcome.problem
    assert (outcome.cells, outcome.maps, outcome.is_scored) == ((), (), False)


def test_changed_photo_is_computed_whole(array_plan):
    entry = array_plan.images.entries[0]
    stored = {"random": np.ones((32, 32), dtype=np.float32)}
    executor = LocalExecutor(array_plan.work)
    job = Job(entry, (("random", ("sparseness",)),), stored, sha256="of another photo")
    (outcome,) = executor.outcomes([job], lambda *_: None)
    assert outcome.changed
    assert len(outcome.cells) == 5 * len(METRIC_NAMES)
    assert {one.explainer for one in outcome.maps} >= {"random", "gradcam"}
    (kept,) = executor.outcomes([Job(entry, (("random", ("sparseness",)),), stored)], lambda *_: None)
    assert not kept.changed
    assert (len(kept.cells), kept.maps, kept.cells[0].value) == (1, (), 0.0)


def test_expected_work_is_an_upper_bound(array_plan):
    work = sum(driver._work(array_plan, explainer, array_plan.metrics) for explainer in array_plan.explainers)
    texts = tuple(metric.text for metric in array_plan.metrics)
    cells = tuple((explainer.text, texts) for explainer in array_plan.explainers)
    jobs = [Job(entry, cells) for entry in array_plan.images.entries[:2]]
    before = replace(array_plan.classifier.count)
    outcomes = list(LocalExecutor(array_plan.work).outcomes(jobs, lambda *_: None))
    counted = array_plan.classifier.count
    assert sum(one.forward_passes for one in outcomes) == counted.forward - before.forward
    assert sum(one.backward_passes for one in outcomes) == counted.backward - before.backward
    assert all(0.5 * work < one.forward_passes + one.backward_passes <= work for one in outcomes)


def jobs_of(plan, count):
    return [Job(entry, (("random", ("sparseness",)),)) for entry in plan.images.entries[:count]]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ModelError])
def test_what_was_computed_before_an_error_is_yielded(array_plan, monkeypatch, error):
    executor, original = LocalExecutor(array_plan.work), Worker.begin

    def begin(worker, job, advance):
        if job is jobs[2]:
            raise error("no more")
        return original(worker, job, advance)

    monkeypatch.setattr(Worker, "begin", begin)
    jobs, outcomes = jobs_of(array_plan, 4), []
    with pytest.raises(error):
        outcomes.extend(executor.outcomes(jobs, lambda *_: None))
    assert [outcome.image_id for outcome in outcomes] == [job.entry.id for job in jobs[:2]]
    assert all(outcome.cells[0].value is not None for outcome in outcomes)


def test_a_photo_is_scored_while_the_model_runs_on_the_next(array_plan, monkeypatch):
    """Each score waits until the next job begins; alone, one after another, the first would wait for ever."""
    begun, original_begin, original_score = [threading.Event() for _ in range(3)], Worker.begin, Sparseness.score
    jobs, scored = jobs_of(array_plan, 3), []

    def begin(worker, job, advance):
        begun[jobs.index(job)].set()
        return original_begin(worker, job, advance)

    def score(metric, *given):
        assert begun[min(len(scored) + 1, 2)].wait(timeout=60)
        scored.append(threading.current_thread() is threading.main_thread())
        return original_score(metric, *given)

    monkeypatch.setattr(Worker, "begin", begin)
    monkeypatch.setattr(Sparseness, "score", score)
    outcomes = list(LocalExecutor(array_plan.work).outcomes(jobs, lambda *_: None))
    assert [outcome.image_id for outcome in outcomes] == [job.entry.id for job in jobs]
    assert scored == [False] * 3


def test_an_outcome_that_is_not_wanted_leaves_no_thread(array_plan):
    outcomes = LocalExecutor(array_plan.work).outcomes(jobs_of(array_plan, 4), lambda *_: None)
    next(outcomes)
    outcomes.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scores")]
