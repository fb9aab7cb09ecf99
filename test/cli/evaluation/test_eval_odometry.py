"""`featdepth eval odometry`: the contract of its flags, keys, formats and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_paths import drive, pose, rotation

from featdepth_ros.cli.main import main

KEYS = "t_err_percent r_err_deg_per_100m ate_m rpe_m rpe_deg scale segments frames length_m ate5_mean_m ate5_std_m"
KEYS += " nees nees_left_out"


def quaternion(R: np.ndarray) -> np.ndarray:
    """Components x y z w of a rotation below half a turn."""
    w = np.sqrt(1 + np.trace(R)) / 2
    return np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], 4 * w * w]) / (4 * w)


def write_kitti(path: Path, poses: np.ndarray, numbers: np.ndarray | None = None) -> Path:
    lines = poses[:, :3].reshape(-1, 12)
    np.savetxt(path, lines if numbers is None else np.c_[numbers, lines], fmt="%.12g")
    return path


def write_tum(path: Path, poses: np.ndarray, seconds: np.ndarray) -> Path:
    rows = [[*p[:3, 3], *quaternion(p[:3, :3])] for p in poses]
    lines = [f"{t:.9f} " + " ".join(f"{v:.12g}" for v in row) for t, row in zip(seconds, rows, strict=True)]
    path.write_text("# stamp x y z qx qy qz qw\n" + "\n".join(lines) + "\n")
    return path


def write_euroc(path: Path, poses: np.ndarray, stamps: np.ndarray) -> Path:
    rows = [[*p[:3, 3], *np.roll(quaternion(p[:3, :3]), 1), *np.zeros(9)] for p in poses]
    lines = [f"{t}," + ",".join(f"{v:.12g}" for v in row) for t, row in zip(stamps, rows, strict=True)]
    path.write_text("#timestamp [ns],p_x,p_y,p_z,q_w,q_x,q_y,q_z,...\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def paths() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    return drive(120, rng), drive(120, rng, step_m=0.5, noise=0.5)


def evaluate(tmp_path: Path, gt: Path, *est: Path, flags: tuple[str, ...] = ()) -> dict:
    out = tmp_path / "out.json"
    assert main(["eval", "odometry", "--gt", str(gt), "--est", *map(str, est), "--json", str(out), *flags]) == 0
    return json.loads(out.read_text())


def refused(capsys: pytest.CaptureFixture[str], gt: Path, est: Path, *flags: str) -> str:
    capsys.readouterr()
    assert main(["eval", "odometry", "--gt", str(gt), "--est", str(est), *flags]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    return captured.err


def test_keys_and_null(tmp_path, paths):
    gt, est = write_kitti(tmp_path / "gt.txt", paths[0][:50]), write_kitti(tmp_path / "est.txt", paths[1][:50])
    figures = evaluate(tmp_path, gt, est)
    assert " ".join(figures) == KEYS
    assert figures["t_err_percent"] is None and figures["segments"] == 0 and figures["scale"] == 1
    assert "NaN" not in (tmp_path / "out.json").read_text()
    shorter = evaluate(tmp_path, gt, est, flags=("--lengths", "10,20", "--align", "scale"))
    assert shorter["segments"] > 0 and shorter["scale"] == pytest.approx(2, rel=0.05)


def test_a_camera_against_a_robot_is_told(tmp_path, paths, capsys):
    base = np.eye(4)
    base[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    robot = write_kitti(tmp_path / "robot.txt", paths[0] @ base)
    evaluate(tmp_path, robot, write_kitti(tmp_path / "camera.txt", paths[1]))
    assert "turned by about 90 degrees" in capsys.readouterr().err
    np.savetxt(tmp_path / "mounting.txt", base.T[:3].reshape(1, 12))
    evaluate(tmp_path, robot, tmp_path / "camera.txt", flags=("--gt-extrinsics", str(tmp_path / "mounting.txt")))
    assert "turned by" not in capsys.readouterr().err


def test_every_format_gives_the_same_figures(tmp_path, paths):
    truth, estimate = paths
    stamps = 1_403_715_273_262_142_976 + np.arange(120) * 50_000_000
    flags = ("--lengths", "20", "--align", "7dof")
    kitti = evaluate(
        tmp_path, write_kitti(tmp_path / "a.txt", truth), write_kitti(tmp_path / "b.txt", estimate), flags=flags
    )
    euroc = evaluate(
        tmp_path,
        write_euroc(tmp_path / "a.csv", truth, stamps),
        write_euroc(tmp_path / "b.csv", estimate, stamps),
        flags=flags,
    )
    seconds = np.arange(120) * 0.05
    tum = evaluate(
        tmp_path,
        write_tum(tmp_path / "a.tum", truth, seconds),
        write_tum(tmp_path / "b.tum", estimate, seconds),
        flags=flags,
    )
    order = np.random.default_rng(0).permutation(120)
    indexed = evaluate(
        tmp_path, tmp_path / "a.txt", write_kitti(tmp_path / "c.txt", estimate[order], order), flags=flags
    )
    for other in (euroc, tum, indexed):
        assert other == pytest.approx(kitti, abs=1e-6)


def test_times_make_kitti_poses_comparable_with_stamped_ones(tmp_path, paths, capsys):
    gt = write_kitti(tmp_path / "poses.txt", paths[0])
    est = write_tum(tmp_path / "est.tum", paths[0][::2], np.arange(0, 120, 2) * 0.1 + 0.004)
    assert "has frame numbers" in refused(capsys, gt, est)
    (tmp_path / "times.txt").write_text("\n".join(f"{0.1 * i:e}" for i in range(120)))
    figures = evaluate(tmp_path, gt, est, flags=("--gt-times", str(tmp_path / "times.txt")))
    assert figures["frames"] == 60 and figures["ate_m"] == pytest.approx(0, abs=1e-6)
    strict = ("--gt-times", str(tmp_path / "times.txt"), "--max-difference", "0.001")
    assert "0 frames in common" in refused(capsys, gt, est, *strict)


def test_covariances_beside_the_estimate(tmp_path, paths, capsys):
    truth, estimate = paths[0], paths[0].copy()
    estimate[1:, 2, 3] += 0.1  # the first motion is 0.1 m too long, the others are right
    (tmp_path / "run").mkdir()
    gt = write_kitti(tmp_path / "gt.txt", truth)
    est = write_kitti(tmp_path / "run" / "trajectory.kitti.txt", estimate)
    assert evaluate(tmp_path, gt, est)["nees"] is None
    covariances = np.tile(np.diag([0.05**2] * 3 + [0.01**2] * 3), (120, 1, 1))
    covariances[0] = covariances[60] = np.diag([900.0] * 3 + [1.0] * 3)
    np.save(tmp_path / "run" / "trajectory.covariance.npy", covariances)
    figures = evaluate(tmp_path, gt, est)
    assert figures["nees_left_out"] == 2
    assert figures["nees"] == pytest.approx(0.1**2 / 0.05**2 / 6 / 118, rel=1e-3)
    assert evaluate(tmp_path, gt, est, flags=("--align", "6dof"))["nees"] == pytest.approx(figures["nees"], rel=1e-3)
    assert evaluate(tmp_path, gt, est, flags=("--align", "7dof"))["nees"] is None
    seconds = np.arange(120) / 10
    stamped = write_tum(tmp_path / "run" / "trajectory.tum.txt", estimate, seconds)
    tum = evaluate(tmp_path, write_tum(tmp_path / "gt.tum.txt", truth, seconds), stamped)
    assert tum["nees"] == pytest.approx(figures["nees"], rel=1e-3)
    np.save(tmp_path / "run" / "trajectory.covariance.npy", covariances[:50])
    assert "50 covariances" in refused(capsys, gt, est)


def test_twist_covariances_of_a_bag(tmp_path):
    pytest.importorskip("rosbags")
    from node_bags import STEP_NS

    from featdepth_ros.recordings.bags.messages import Messages
    from featdepth_ros.recordings.bags.writer import BagWriter

    make, truth = Messages(), drive(20, np.random.default_rng(3), step_m=0.2)
    stamps = 1_700_000_000_000_000_000 + np.arange(20) * STEP_NS
    with BagWriter(tmp_path / "bag") as bag:
        for i, (stamp, T) in enumerate(zip(stamps.tolist(), truth, strict=True)):
            message = make.odometry(make.header(stamp, "odom"), "camera", T, np.zeros(6))
            std = np.array([0.5] * 3 + [0.1] * 3) if i not in (0, 8) else np.full(6, 100.0)
            message.twist.covariance[:] = np.diag(std**2).ravel()
            if i == 0:
                bag.add_topic("/odom", message.__msgtype__)
            bag.write_message("/odom", stamp, message)
    moved = truth.copy()
    moved[1:, 2, 3] += 0.1  # 0.1 m in 0.1 s is 1 m/s
    gt = write_euroc(tmp_path / "gt.csv", moved, stamps)
    figures = evaluate(tmp_path, gt, tmp_path / "bag", flags=("--est-topic", "/odom"))
    assert figures["nees_left_out"] == 2 and figures["nees"] == pytest.approx((1 / 0.5) ** 2 / 6 / 18, rel=1e-3)


def test_bags(tmp_path):
    pytest.importorskip("rosbags")
    from node_bags import Recorded, write_recording

    bag = write_recording(tmp_path / "bag", Recorded(frames=30, images=False, depth=False, odometry_factor=0.8))
    figures = evaluate(
        tmp_path, bag, bag, flags=("--gt-topic", "/ground_truth/odom", "--est-topic", "/odom", "--align", "scale")
    )
    assert figures["scale"] == pytest.approx(1.25) and figures["frames"] == 29


def test_extrinsics_bring_body_truth_to_the_camera(tmp_path, paths):
    T_body_camera = pose(rotation(np.array([1.0, 0.2, 0.0]), 1.5), np.array([0.1, 0.0, 0.05]))
    gt = write_kitti(tmp_path / "body.txt", paths[0])
    est = write_kitti(tmp_path / "camera.txt", paths[0] @ T_body_camera)
    yaml = tmp_path / "sensor.yaml"
    yaml.write_text(f"%YAML:1.0\nT_BS:\n  cols: 4\n  rows: 4\n  data: {T_body_camera.ravel().tolist()}\n")
    np.savetxt(tmp_path / "T.txt", T_body_camera)
    assert evaluate(tmp_path, gt, est)["ate_m"] > 1
    for file in (yaml, tmp_path / "T.txt"):
        assert evaluate(tmp_path, gt, est, flags=("--gt-extrinsics", str(file)))["ate_m"] < 1e-6


@pytest.mark.slow
def test_several_estimates_share_a_table_and_plots(tmp_path, paths, capsys):
    pytest.importorskip("matplotlib")
    gt = write_kitti(tmp_path / "gt.txt", paths[0])
    (tmp_path / "run").mkdir()
    one, two = write_kitti(tmp_path / "est.txt", paths[1]), write_kitti(tmp_path / "run/est.txt", paths[0])
    figures = evaluate(tmp_path, gt, one, two, flags=("--plot", str(tmp_path / "p"), "--lengths", "10,30"))
    assert list(figures) == [f"{tmp_path.name}/est.txt", "run/est.txt"]
    assert " ".join(figures["run/est.txt"]) == KEYS and figures["run/est.txt"]["ate_m"] == 0
    assert "run/est.txt" in capsys.readouterr().out.splitlines()[0]
    assert {p.name for p in (tmp_path / "p").iterdir()} == {
        "trajectory.png",
        "drift.png",
        "segments.png",
        "report.html",
    }
    assert "http" not in (tmp_path / "p/report.html").read_text()


def test_known_results_through_the_command(tmp_path, test_data):
    folder = test_data / "trajectories"
    figures = evaluate(tmp_path, folder / "ground_truth/09.txt", folder / "example_0/09.txt", flags=("--align", "7dof"))
    assert (f"{figures['t_err_percent']:.3f}", f"{figures['ate_m']:.3f}") == ("2.884", "8.387")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no pose"),
        ("1 2 3\n", "3 numbers a line"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0 0 1\n", "line 2 has 6 numbers, line 1 has 12"),
        ("1 0 0 0 0 1 0 0 0 0 1 zero\n", "line 1: 'zero' is no number"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 nan 0 1 0 0 0 0 1 0\n", "NaN or infinity, first pose 1"),
        ("2 0 0 0 0 2 0 0 0 0 2 0\n", "not rigid"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n", "1 frames in common"),
        ("0.5 1 0 0 0 0 1 0 0 0 0 1 0\n", "whole frame number"),
        ("0.1 0 0 0 0 0 0 0\n", "far from unit length"),
        ("0.1 0 0 nan 0 0 0 1\n", "NaN or infinity"),
        ("nan 0 0 0 0 0 0 1\n", "'nan' is not a stamp"),
        (b"\xff\xfe\x00\x81", "cannot be read"),
    ],
)
def test_bad_estimates_are_refused_with_words(tmp_path, paths, capsys, content, words):
    gt = write_kitti(tmp_path / "gt.txt", paths[0])
    est = tmp_path / "est.txt"
    est.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert words in refused(capsys, gt, est)


def test_what_is_missing_is_named(tmp_path, paths, capsys):
    gt = write_kitti(tmp_path / "gt.txt", paths[0])
    assert "no trajectory at" in refused(capsys, gt, tmp_path / "nothing.txt")
    (tmp_path / "empty").mkdir()
    assert "is a folder without" in refused(capsys, gt, tmp_path / "empty")
    (tmp_path / "fake.bag").write_bytes(b"#ROSBAG V2.0\n")
    assert "fake.bag" in refused(capsys, gt, tmp_path / "fake.bag")
    assert "no extrinsics" in refused(capsys, gt, gt, "--gt-extrinsics", str(tmp_path / "none.yaml"))


def test_standing_still_needs_no_scale(tmp_path, capsys):
    gt = write_kitti(tmp_path / "gt.txt", np.tile(np.eye(4), (5, 1, 1)))
    assert evaluate(tmp_path, gt, gt)["length_m"] == 0
    assert "does not move" in refused(capsys, gt, gt, "--align", "7dof")


def test_wrong_usage(tmp_path):
    for flags in (["--align", "sim3"], ["--lengths", "10,x"], ["--lengths", "-5"], []):
        with pytest.raises(SystemExit) as stopped:
            main(["eval", "odometry", "--gt", "x", *(["--est", "y"] if flags else []), *flags])
        assert stopped.value.code == 2
    with pytest.raises(SystemExit) as stopped:
        main(["eval"])
    assert stopped.value.code == 2
