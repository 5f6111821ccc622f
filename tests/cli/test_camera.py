from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.canned import problem
from tests.cli.collector import PROGRAM, ROOT, Collector, Reply, Village, environment

PATH = "/cameras/gate-1/camera/snapshot"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40


@pytest.fixture
def camera(collector: Collector) -> Collector:
    collector.gives("POST", PATH, Reply(JPEG, 200, "image/jpeg"))
    return collector


def test_a_picture_is_saved_in_full(camera: Collector, village: Village, tmp_path: Path) -> None:
    file = tmp_path / "村口.jpg"
    run = village("camera", "snapshot", "gate-1/camera", "-o", str(file))
    assert (run.returncode, run.stdout) == (0, f"Saved {len(JPEG)} bytes to {file}.\n")
    assert file.read_bytes() == JPEG
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
    assert camera.requests[0].query == {}


def test_a_file_is_overwritten_only_by_force(camera: Collector, village: Village, tmp_path: Path) -> None:
    file = tmp_path / "gate.jpg"
    file.write_text("precious")
    run = village("camera", "snapshot", "gate-1/camera", "-o", str(file))
    assert run.returncode == 1
    assert "exists. Choose another name, or overwrite it with --force." in run.stderr
    assert file.read_text() == "precious"
    # The camera was not even asked.
    assert camera.requests == []
    assert village("camera", "snapshot", "gate-1/camera", "-o", str(file), "--force").returncode == 0
    assert file.read_bytes() == JPEG


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    from village_cli.failures import Failure
    from village_cli.saving import save

    file = tmp_path / "gate.jpg"
    file.write_text("precious")
    with pytest.raises(Failure, match="exists"):
        save(file, JPEG, force=False)
    assert file.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_absent(camera: Collector, village: Village, tmp_path: Path) -> None:
    run = village("camera", "snapshot", "gate-1/camera", "-o", str(tmp_path / "absent" / "gate.jpg"))
    assert run.returncode == 1
    assert "can't be written: No such file or directory." in run.stderr


def test_to_standard_output(camera: Collector) -> None:
    words = [*PROGRAM, "camera", "snapshot", "gate-1/camera", "-o", "-"]
    run = subprocess.run(words, env=environment(camera.url), cwd=ROOT, capture_output=True, timeout=20, check=True)
    assert run.stdout == JPEG


def test_no_answer_of_the_camera_leaves_no_file(collector: Collector, village: Village, tmp_path: Path) -> None:
    collector.answers(
        "POST", PATH, problem(504, "no picture in 25 seconds", "Check the camera.", "请检查。"), status=504
    )
    run = village("camera", "snapshot", "gate-1/camera", "-o", str(tmp_path / "gate.jpg"))
    assert (run.returncode, run.stderr) == (1, "village: no picture in 25 seconds. Check the camera.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reply", [Reply(b"GIF89a", 200, "image/jpeg"), Reply(JPEG, 200, "text/html")])
def test_what_is_no_jpeg_is_not_saved(collector: Collector, village: Village, tmp_path: Path, reply: Reply) -> None:
    collector.gives("POST", PATH, reply)
    run = village("camera", "snapshot", "gate-1/camera", "-o", str(tmp_path / "gate.jpg"))
    assert run.returncode == 3
    assert list(tmp_path.iterdir()) == []
