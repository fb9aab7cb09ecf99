"""`featdepth eval depth`: the contract of its flags, keys and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from featdepth_ros.cli.main import main

KEYS = (
    "abs_rel sq_rel rmse rmse_log a1 a2 a3 scale_median scale_std frames pixels within_1_sigma within_2_sigma ause"
).split()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three frames; predictions a tenth too far, in npy; truth in KITTI's PNG with unknown pixels."""
    rng = np.random.default_rng(4)
    pred, gt = tmp_path / "pred", tmp_path / "gt"
    pred.mkdir()
    gt.mkdir()
    for i in range(3):
        raw = rng.integers(5 * 256, 60 * 256, (30, 60)).astype(np.uint16)
        np.save(pred / f"{i:06d}.npy", (raw / 256 * 1.1).astype(np.float32))
        raw[rng.random(raw.shape) < 0.5] = 0
        cv2.imwrite(str(gt / f"{i:06d}.png"), raw)
    return pred, gt


def evaluate(tmp_path: Path, pred: Path, gt: Path, *flags: str) -> dict[str, float]:
    out = tmp_path / "out" / "figures.json"
    assert main(["eval", "depth", "--pred", str(pred), "--gt", str(gt), "--json", str(out), *flags]) == 0
    return json.loads(out.read_text())


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    capsys.readouterr()
    assert main(["eval", "depth", *flags]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    return captured.err


def test_keys_and_defaults(tmp_path, folders):
    figures = evaluate(tmp_path, *folders)
    assert list(figures) == KEYS
    assert figures["abs_rel"] == pytest.approx(0.1, abs=1e-3) and figures["a1"] == 1
    assert figures["frames"] == 3 and figures["scale_median"] == pytest.approx(1 / 1.1, rel=1e-3)


def test_scales(tmp_path, folders):
    assert evaluate(tmp_path, *folders, "--scale", "median")["abs_rel"] < 1e-3
    factor = evaluate(tmp_path, *folders, "--scale", "2")
    assert factor["scale_median"] == pytest.approx(1 / 1.1, rel=1e-3) and factor["abs_rel"] > 0.5


def test_crop_and_cap_leave_pixels_out(tmp_path, folders):
    everything = evaluate(tmp_path, *folders)["pixels"]
    garg = evaluate(tmp_path, *folders, "--crop", "garg")["pixels"]
    near = evaluate(tmp_path, *folders, "--cap", "30", "--min", "10")["pixels"]
    assert 0 < garg < everything and 0 < near < everything


def test_divisors(tmp_path, folders):
    pred, gt = folders
    for path in pred.glob("*.npy"):
        cv2.imwrite(str(path.with_suffix(".png")), np.round(np.load(path) * 500).astype(np.uint16))
        path.unlink()
    assert evaluate(tmp_path, pred, gt, "--pred-divisor", "500")["abs_rel"] == pytest.approx(0.1, abs=1e-3)
    halved = evaluate(tmp_path, pred, gt, "--pred-divisor", "500", "--gt-divisor", "128", "--cap", "200")
    assert halved["scale_median"] == pytest.approx(2 / 1.1, rel=1e-2)


def test_another_size_is_resized_in_inverse_depth(tmp_path):
    pred, gt = tmp_path / "pred", tmp_path / "gt"
    pred.mkdir()
    gt.mkdir()
    depth = np.random.default_rng(0).uniform(2, 20, (10, 16))
    np.save(pred / "a.npy", depth)
    np.save(gt / "a.npy", 1 / cv2.resize(1 / depth, (40, 24), interpolation=cv2.INTER_LINEAR))
    assert evaluate(tmp_path, pred, gt)["abs_rel"] < 1e-6


def test_non_finite_predictions(tmp_path, folders, capsys):
    pred, gt = folders
    values = np.load(pred / "000001.npy")
    values[:] = np.inf
    np.save(pred / "000001.npy", values)
    known = int((cv2.imread(str(gt / "000001.png"), cv2.IMREAD_UNCHANGED) > 0).sum())
    words = refused(capsys, "--pred", str(pred), "--gt", str(gt))
    assert "000001.npy" in words and str(known) in words and "--skip-invalid" in words
    figures = evaluate(tmp_path, pred, gt, "--skip-invalid")
    assert figures["frames"] == 2 and figures["skipped_pixels"] == 0
    assert "000001.npy" in capsys.readouterr().err
    values[:, 30:] = 10
    np.save(pred / "000001.npy", values)
    assert evaluate(tmp_path, pred, gt, "--skip-invalid")["skipped_pixels"] > 0


def test_an_empty_truth_is_left_out_and_named(tmp_path, folders, capsys):
    pred, gt = folders
    np.save(pred / "empty.npy", np.ones((30, 60)))
    cv2.imwrite(str(gt / "empty.png"), np.zeros((30, 60), np.uint16))
    assert evaluate(tmp_path, pred, gt)["frames"] == 3
    assert "empty.npy" in capsys.readouterr().err
    for path in gt.glob("0*.png"):
        path.unlink()
    assert "no image has a pixel" in refused(capsys, "--pred", str(pred), "--gt", str(gt))


def test_mismatched_stems_are_listed(tmp_path, folders, capsys):
    pred, gt = folders
    (pred / "000002.npy").rename(pred / "other.npy")
    words = refused(capsys, "--pred", str(pred), "--gt", str(gt))
    assert "000002" in words and "other" in words
    (gt / "000002.png").unlink()
    assert evaluate(tmp_path, pred, gt)["frames"] == 2
    assert "other" in capsys.readouterr().err


def test_folders_that_featdepth_infer_wrote(tmp_path, folders):
    pred, gt = folders
    (tmp_path / "run").mkdir()
    pred.rename(tmp_path / "run" / "depth")
    assert evaluate(tmp_path, tmp_path / "run", gt)["frames"] == 3


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda pred, gt: [p.unlink() for p in gt.iterdir()], "holds no depth map"),
        (lambda pred, gt: cv2.imwrite(str(gt / "000000.png"), np.ones((3, 3), np.uint8)), "16-bit"),
        (lambda pred, gt: (gt / "000000.png").write_bytes(b"no image"), "cannot be read as an image"),
        (lambda pred, gt: (pred / "000000.npy").write_bytes(b"\x93NUMPY"), "cannot be read as a numeric"),
        (lambda pred, gt: np.save(pred / "000000.npy", np.zeros((2, 3, 4))), "expected (height, width)"),
        (lambda pred, gt: np.save(pred / "000000.npy", np.array([{}])), "cannot be read as a numeric"),
        (lambda pred, gt: np.save(gt / "000000.npy", np.ones((3, 3))), "share a stem"),
    ],
)
def test_bad_files_are_named(folders, capsys, spoil, words):
    spoil(*folders)
    assert words in refused(capsys, "--pred", str(folders[0]), "--gt", str(folders[1]))


def test_wrong_usage(folders, capsys, tmp_path):
    pred, gt = map(str, folders)
    for flags in (["--pred", pred], ["--pred", pred, "--gt", gt, "--weights", "w"], ["--weights", "w"], []):
        with pytest.raises(SystemExit) as stopped:
            main(["eval", "depth", *flags])
        assert stopped.value.code == 2 and "expected either" in capsys.readouterr().err
    assert "no folder" in refused(capsys, "--pred", str(tmp_path / "nothing"), "--gt", gt)
    assert "expected 0 < minimum" in refused(capsys, "--pred", pred, "--gt", gt, "--cap", "1e-4")
    for wrong in (["--scale", "mean"], ["--crop", "centre"], ["--pred"], ["--cap", "0"], ["--gt-divisor", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main(["eval", "depth", "--pred", pred, "--gt", gt, *wrong])
        assert stopped.value.code == 2


@pytest.mark.slow
def test_plots_and_page(tmp_path, folders):
    pytest.importorskip("matplotlib")
    evaluate(tmp_path, *folders, "--plot", str(tmp_path / "plots"))
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"depth_00.png", "depth_01.png", "depth_02.png", "errors.png", "report.html"}
    page = (tmp_path / "plots" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "http" not in page
    assert cv2.imread(str(tmp_path / "plots" / "depth_00.png")).shape[1] == 1240


def test_weights_on_a_data_set(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    from featdepth_ros.models.build import build_model
    from featdepth_ros.models.checkpoints import save_model
    from featdepth_ros.models.info import ModelInfo

    torch.manual_seed(0)
    info = ModelInfo(name="random", architecture="compact", input_size=(32, 64), scale_kind="metric", scale_factor=5.0)
    weights = save_model(tmp_path / "w.safetensors", build_model("compact", info))
    root = tmp_path / "kitchen"
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        cv2.imwrite(str(root / f"frame-{i:06d}.color.png"), rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
        depth = rng.integers(500, 4000, (48, 64)).astype(np.uint16)
        depth[:5] = 65535
        cv2.imwrite(str(root / f"frame-{i:06d}.depth.png"), depth)
    flags = ["--weights", str(weights), "--dataset", "seven_scenes", "--root", str(root)]
    results = {}
    for name, extra in {
        "metric": [],
        "five": ["--scale", "5"],
        "flip": ["--flip"],
        "median": ["--scale", "median"],
    }.items():
        out = tmp_path / f"{name}.json"
        assert main(["eval", "depth", *flags, *extra, "--json", str(out)]) == 0
        results[name] = json.loads(out.read_text())
    assert results["metric"]["pixels"] == 2 * 43 * 64 and list(results["metric"]) == KEYS
    assert results["metric"] == results["five"], "metric weights bring their own factor"
    assert results["flip"]["abs_rel"] != results["metric"]["abs_rel"]
    assert results["median"]["scale_median"] == results["metric"]["scale_median"]
    split = tmp_path / "split.txt"
    split.write_text("frame-000001\n")
    assert main(["eval", "depth", *flags, "--split", str(split), "--json", str(tmp_path / "one.json")]) == 0
    assert json.loads((tmp_path / "one.json").read_text())["frames"] == 1
    split.write_text("frame-000009\n")
    assert "frame-000009" in refused(capsys, *flags, "--split", str(split))


def test_sigma(tmp_path, folders, capsys):
    pred, gt = folders
    without = evaluate(tmp_path, pred, gt)
    assert without["within_1_sigma"] is without["within_2_sigma"] is without["ause"] is None
    run = tmp_path / "run"  # as featdepth infer leaves it
    (run / "sigma").mkdir(parents=True)
    pred.rename(run / "depth")
    for path in (run / "depth").glob("*.npy"):  # every prediction is a tenth of the truth too far
        np.save(run / "sigma" / path.name, np.load(path) * np.float32(0.1 / 1.1 / 1.5))
    np.save(run / "trajectory.covariance.npy", np.ones((3, 6, 6)))
    figures = evaluate(tmp_path, run, gt, "--sigma", str(run / "sigma"))
    assert figures["within_1_sigma"] == 0 and figures["within_2_sigma"] == 1 and figures["ause"] >= 0
    assert evaluate(tmp_path, run, gt, "--sigma", str(run)) == figures
    (run / "sigma" / "000001.npy").unlink()
    assert "000001" in refused(capsys, "--pred", str(run), "--gt", str(gt), "--sigma", str(run))
    with pytest.raises(SystemExit) as usage:
        main(["eval", "depth", "--weights", "compact", "--dataset", "tum", "--root", "x", "--sigma", str(run)])
    assert usage.value.code == 2
