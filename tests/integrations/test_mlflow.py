"""The export to MLflow, with the real library and a SQLite database."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.core.errors import StoreError
from evalkit.integrations import mlflow as tracker
from evalkit.integrations.names import safe_name

from .conftest import library

mlflow = library("mlflow")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # warnings of the library
    pytest.mark.usefixtures("few"),
]


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """The address of one database for all tests: its tables take seconds to create."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def client(uri, run_folder):
    return mlflow.MlflowClient(uri)


def names_in(client, run_id, path=None):
    """Return the paths of all files among a run's artifacts."""
    listed = client.list_artifacts(run_id, path)
    inner = [name for one in listed if one.is_dir for name in names_in(client, run_id, one.path)]
    return sorted([one.path for one in listed if not one.is_dir] + inner)


def test_run_has_numbers_parameters_and_files(client, uri, few, run_folder, tmp_path):
    exported = tracker.export(run_folder, tracking_uri=uri, experiment="explanations")
    run = client.get_run(exported.id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "my run"
    assert client.get_experiment(run.info.experiment_id).name == "explanations"
    # A mean has its interval below it, and in a store of files no name is a folder as well.
    above = {name.rpartition("/")[0] for name in few.numbers}
    assert above & set(few.numbers)
    assert run.data.metrics == {f"{name}/mean" if name in above else name: one for name, one in few.numbers.items()}
    assert run.data.params == {name: str(value) for name, value in few.parameters.items()}
    assert run.data.tags["evalkit.digest"] == few.digest
    assert run.data.tags["evalkit.signature"] == few.signature
    assert run.data.tags["mlflow.note.content"] == few.methods
    pictures = {f"{picture.name}.png" for picture in few.pictures}
    assert set(names_in(client, exported.id)) == {*few.files, *pictures}
    for name in ("results.json", "report.html"):
        path = Path(client.download_artifacts(exported.id, name, str(tmp_path)))
        assert path.read_bytes() == few.files[name]


def test_second_export_is_a_new_run_and_said(client, uri, run_folder):
    first = tracker.export(run_folder, tracking_uri=uri, experiment="twice")
    second = tracker.export(run_folder, name="again", tracking_uri=uri, experiment="twice")
    assert first.id != second.id
    assert not [note for note in first.notes if "already" in note]
    assert f"already has 1 export with these settings, the last {first.id}; this one is a new run." in (
        " ".join(second.notes)
    )
    assert client.get_run(first.id).info.run_name == "my run"
    assert client.get_run(first.id).data.tags["evalkit.digest"] == client.get_run(second.id).data.tags["evalkit.digest"]


def test_active_run_is_left_alone(client, uri, run_folder):
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run() as active:
        exported = tracker.export(run_folder)
        assert mlflow.active_run().info.run_id == active.info.run_id
    assert exported.id != active.info.run_id
    assert client.get_run(active.info.run_id).data.metrics == {}


def test_run_that_could_not_be_written_is_marked(client, uri, run_folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(mlflow.MlflowClient, "log_artifacts", full)
        with pytest.raises(StoreError, match=r"MLflow refused the export: .*No space left"):
            tracker.export(run_folder, tracking_uri=uri, experiment="full")
    experiment = client.get_experiment_by_name("full")
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]
    again = tracker.export(run_folder, tracking_uri=uri, experiment="full")
    assert not [note for note in again.notes if "already" in note]


def test_bad_address_is_one_sentence(command, run_folder):
    done = command("export", run_folder, "--to", "mlflow", "--tracking-uri", "nonsense://nowhere")
    assert done.code == 2, done.err
    assert "evalkit: MLflow refused the export: " in done.err
    assert "check --tracking-uri (or MLFLOW_TRACKING_URI) and --experiment" in done.err
    assert "Traceback" not in done.err


def test_command_prints_the_id(command, client, uri, run_folder):
    done = command("export", run_folder, "--to", "mlflow", "--tracking-uri", uri, "--name", "mine")
    assert done.code == 0, done.err
    assert client.get_run(done.out.strip()).info.run_name == "mine"
    assert "numbers, " in done.err


@pytest.mark.parametrize("text", ["m:Mine(a=-1)", "occlusion(patch_size=40)", "🐟", "tf_explain.gradcam"])
def test_every_name_is_accepted(client, text):
    run_id = client.create_run(client.create_experiment(f"names {text}")).info.run_id
    client.log_metric(run_id, f"gain/{safe_name(text)}/low", 1.0)
    assert client.get_run(run_id).data.metrics == {f"gain/{safe_name(text)}/low": 1.0}
