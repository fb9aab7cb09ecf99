"""The rules of the house: who may import whom, what may load when, and that nothing unpickles."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from import_reader import ROOT, SOURCES, Import, files, imports, imports_of, module_name, where

#: Room of featdepth_ros -> rooms it may import, inside functions as well. A room may always import itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "device": {"errors"},
    "files": set(),
    "interrupts": set(),
    "progress": set(),
    "threads": set(),
    "memory": set(),
    "compiling": set(),
    "resources": {"errors"},
    "metrics": {"errors"},
    "geometry": {"errors"},
    "models": {"errors", "files", "resources", "geometry"},
    "losses": {"errors", "geometry", "models"},
    "export": {"errors", "metrics", "models"},
    "inference": {"errors", "compiling", "device", "files", "resources", "geometry", "models", "losses", "export"},
    "messages": {"errors", "geometry"},
    "recordings": {"errors", "files", "geometry", "messages"},
    "simulation": {"errors", "compiling", "geometry", "recordings"},
    "reporting": {"errors", "files", "progress", "resources", "geometry", "metrics", "messages", "recordings"},
    "weights": set(),
    "ros": {
        "errors",
        "device",
        "files",
        "threads",
        "memory",
        "resources",
        "geometry",
        "models",
        "losses",
        "inference",
        "messages",
        "recordings",
    },
    "cli": {
        "errors",
        "device",
        "files",
        "interrupts",
        "progress",
        "resources",
        "threads",
        "memory",
        "geometry",
        "models",
        "losses",
        "metrics",
        "export",
        "inference",
        "messages",
        "recordings",
        "simulation",
        "reporting",
        "weights",
        "ros",
    },
}
#: The package's front door names what lies behind it.
FRONT_DOOR = {"models", "inference"}

MESSAGES = ("_msgs", "_srvs", "_interfaces")
ROS_MODULES = {"rclpy", "launch", "launch_ros", "tf2_ros", "ament_index_python"}
#: Loaded only where they are used, so that the node and `featdepth --help` run without them.
LAZY = {
    "matplotlib",
    "tensorboard",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "av",
    "openvino",
    "numba",
    "rosbags",
    "tqdm",
    "scipy",
    "PIL",
    "pandas",
    "imageio",
    "h5py",
}
#: Folders that are nothing without one of these. No other room imports them but inside functions.
LAZY_EXCEPTIONS = {"featdepth_ros.simulation": {"numba", "scipy"}, "featdepth_ros.inference.window": {"numba"}}
#: What the node may load beside the standard library and ROS.
NODE_PACKAGES = {"torch", "numpy", "cv2", "yaml", "safetensors", "numba"}
UNPICKLERS = {"dill", "cloudpickle", "joblib", "shelve", "marshal"}
#: All of pickle that may be named: what torch raises when weights_only refuses a file.
PICKLE_ERRORS = {"PickleError", "UnpicklingError"}


def rooms_named(found: Import) -> Iterator[str]:
    """Yield the rooms of featdepth_ros that an import names."""
    parts = found.module.split(".")
    if parts[0] != "featdepth_ros":
        return
    if len(parts) > 1:
        yield parts[1]
    else:
        yield from (name for name in found.names if name in MAY_IMPORT)


def imported(source: str, package: str = "featdepth_ros.ros") -> list[Import]:
    return list(imports(ast.parse(source), package))


def test_the_reader_of_imports_sees_what_it_must():
    source = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import onnx\nelse:\n    import numba\n"
        "from . import node\nfrom ..errors import FeatDepthError\n"
        "def late():\n    import tqdm\nclass Now:\n    import scipy\n"
        "try:\n    import PIL\nexcept ImportError:\n    pass\n"
    )
    found = {(entry.module, entry.at_import) for entry in imported(source)}
    assert found == {
        ("typing", True),
        ("numba", True),
        ("featdepth_ros.ros", True),
        ("featdepth_ros.errors", True),
        ("tqdm", False),
        ("scipy", True),
        ("PIL", True),
    }


def test_every_room_has_its_rule():
    inside = list(SOURCES["featdepth_ros"].iterdir())
    rooms = {path.stem for path in inside if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__"} == set(MAY_IMPORT)


def test_rooms_import_one_way():
    wrong = []
    for path in files():
        parts = module_name(path).split(".")
        if parts[0] != "featdepth_ros":
            continue
        room = parts[1] if len(parts) > 1 else None
        allowed = FRONT_DOOR if room is None else MAY_IMPORT[room] | {room}
        for found in imports_of(path):
            forbidden = set(rooms_named(found)) - allowed
            wrong += [f"{where(path, found.line)} imports {other}" for other in sorted(forbidden)]
    assert not wrong, "\n".join(wrong)


def file_imports() -> dict[str, set[str]]:
    """Return module -> modules of the two packages it imports, inside functions and for types alone as well."""
    modules = {module_name(path): path for path in files()}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        read = imports_of(path, types=True)
        named = [n for found in read for n in (found.module, *(f"{found.module}.{x}" for x in found.names))]
        graph[name] = {n for n in named if n in modules}
    return graph


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the names along one cycle, or nothing."""
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        path.append(name)
        for other in sorted(graph[name]):
            closed = visit(other)
            if closed:
                return closed
        path.pop()
        done.add(name)
        return []

    return next(filter(None, map(visit, sorted(graph))), [])


def test_a_cycle_is_found():
    assert cycle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_file_imports_itself_by_any_way():
    assert not cycle(file_imports()), " -> ".join(cycle(file_imports()))


#: Most Python files of a folder beside __init__.py, and most lines of a file.
FOLDER_FILES, FILE_LINES = 15, 400


def crowded(paths: list[Path]) -> list[str]:
    """Return the folders that hold more Python files than a reader takes in at a glance."""
    counts = Counter(path.parent for path in paths if path.name != "__init__.py")
    return [f"{folder} holds {count} files" for folder, count in sorted(counts.items()) if count > FOLDER_FILES]


def test_no_folder_is_crowded(tmp_path: Path):
    assert crowded([tmp_path / f"{n}.py" for n in range(FOLDER_FILES)] + [tmp_path / "__init__.py"]) == []
    assert len(crowded([tmp_path / f"{n}.py" for n in range(FOLDER_FILES + 1)])) == 1
    found = crowded([*files(), *(ROOT / "test").rglob("*.py")])
    assert not found, "\n".join(found)


def test_no_file_is_long():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files()}
    found = [f"{where(path, 1)} has {length} lines" for path, length in lengths.items() if length > FILE_LINES]
    assert len(lengths) > 200 and not found, "\n".join(found)


def test_training_stays_out_of_ros_and_is_imported_inside_verbs_only():
    wrong = []
    for path in files():
        name = module_name(path)
        for found in imports_of(path):
            if name.startswith("featdepth_training"):
                if "ros" in rooms_named(found):
                    wrong.append(f"{where(path, found.line)}: training imports featdepth_ros.ros")
            elif found.module.split(".")[0] == "featdepth_training" and (
                found.at_import or not name.startswith("featdepth_ros.cli.")
            ):
                wrong.append(f"{where(path, found.line)}: featdepth_training is imported inside cli verbs only")
    assert not wrong, "\n".join(wrong)


def test_only_the_ros_room_knows_ros():
    wrong = []
    for path in files():
        if module_name(path).startswith("featdepth_ros.ros"):
            continue
        for found in imports_of(path):
            top = found.module.split(".")[0]
            if top in ROS_MODULES or top.endswith(MESSAGES):
                wrong.append(f"{where(path, found.line)} imports {top}")
    assert not wrong, "\n".join(wrong)


def test_metrics_need_numpy_only():
    wrong = [
        f"{where(path, found.line)} imports {found.module}"
        for path in sorted((SOURCES["featdepth_ros"] / "metrics").rglob("*.py"))
        for found in imports_of(path)
        if found.module.split(".")[0] not in {*sys.stdlib_module_names, "numpy", "featdepth_ros"}
    ]
    assert not wrong, "\n".join(wrong)


def test_optional_packages_are_imported_where_they_are_used():
    wrong = []
    for path in files():
        name = module_name(path)
        allowed = set().union(*(names for room, names in LAZY_EXCEPTIONS.items() if f"{name}.".startswith(f"{room}.")))
        for found in imports_of(path):
            top = found.module.split(".")[0]
            if found.at_import and top in LAZY - allowed:
                wrong.append(f"{where(path, found.line)} imports {top} when it is itself imported")
            if found.at_import and found.module.startswith("torch.utils.tensorboard"):
                wrong.append(f"{where(path, found.line)} imports tensorboard when it is itself imported")
    assert not wrong, "\n".join(wrong)


def unsafe_loads(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, reason) of everything in ``tree`` that could unpickle what somebody else wrote."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names if a.name.split(".")[0] in UNPICKLERS)
            yield from ((node.lineno, a.name) for a in node.names if a.name == "pickle" and a.asname)
        elif isinstance(node, ast.ImportFrom):
            top = (node.module or "").split(".")[0]
            if top in UNPICKLERS or (top == "pickle" and not {a.name for a in node.names} <= PICKLE_ERRORS):
                yield node.lineno, str(node.module)
        elif isinstance(node, ast.Attribute):
            if ast.unparse(node.value) == "pickle" and node.attr not in PICKLE_ERRORS:
                yield node.lineno, f"pickle.{node.attr}"
        elif isinstance(node, ast.Call):
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            called = ast.unparse(node.func)
            safe = isinstance(keywords.get("weights_only"), ast.Constant) and keywords["weights_only"].value is True
            if called == "torch.load" and not safe:
                yield node.lineno, "torch.load without weights_only=True"
            allow = keywords.get("allow_pickle")
            if allow is not None and not (isinstance(allow, ast.Constant) and allow.value is False):
                yield node.lineno, f"{called} with allow_pickle"
            if called in {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}:
                yield node.lineno, f"{called}; use yaml.safe_load"


@pytest.mark.parametrize(
    "source",
    [
        "import dill",
        "from joblib import load",
        "import pickle as p",
        "from pickle import loads",
        "pickle.load(file)",
        "torch.load(path)",
        "torch.load(path, weights_only=flag)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=Loader)",
    ],
)
def test_the_reader_of_loads_sees_what_it_must(source: str):
    assert list(unsafe_loads(ast.parse(source)))


def test_nothing_unpickles():
    harmless = "torch.load(path, weights_only=True); np.load(path); yaml.safe_load(text); pickle.UnpicklingError"
    assert not list(unsafe_loads(ast.parse(harmless)))
    wrong = [
        f"{where(path, line)}: {reason}"
        for path in files()
        for line, reason in unsafe_loads(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not wrong, "\n".join(wrong)


def test_digits_are_told_as_int_reads_them():
    """`'²'.isdigit()` is true, and ``int('²')`` raises: names and words of users hold such signs."""
    found = [
        where(path, 0) for path in files() if re.search(r"\.isdigit\(|\.isnumeric\(", path.read_text(encoding="utf-8"))
    ]
    assert not found, f"isdecimal is meant in {found}"


LOADED = """
import importlib, json, sys
before = set(sys.modules)
for module in sys.argv[1:]:
    importlib.import_module(module)
names = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps({n: getattr(sys.modules.get(n), "__file__", None) or "" for n in names}))
"""


def loaded_by(*modules: str) -> dict[str, str]:
    """Return top-level module -> file, for all that importing ``modules`` in a fresh interpreter loads."""
    command = [sys.executable, "-c", LOADED, *modules]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout.splitlines()[-1]))


def third_party(places: dict[str, str]) -> set[str]:
    known = {*sys.stdlib_module_names, "featdepth_ros", "featdepth_training"}
    return {n for n, file in places.items() if n not in known and ("site-packages" in file or "dist-packages" in file)}


def test_importing_the_package_loads_nothing_else():
    assert third_party(loaded_by("featdepth_ros")) == set()


def test_the_command_line_starts_without_torch():
    assert "torch" not in loaded_by("featdepth_ros.cli.main")


def test_training_imports_without_ros():
    loaded = loaded_by("featdepth_training")
    assert not {name for name in loaded if name in ROS_MODULES or name.endswith(MESSAGES)}


@pytest.mark.ros
def test_the_node_loads_only_what_a_robot_has():
    # The node loads weights and estimator when it configures, so its rooms are imported here module by module.
    rooms = ("geometry", "models", "losses", "inference", "ros")
    sources = [path for room in rooms for path in sorted((SOURCES["featdepth_ros"] / room).rglob("*.py"))]
    loaded = set(loaded_by(*map(module_name, sources)))
    assert {"rclpy", "torch", "cv2"} <= loaded
    # torch, numba and rclpy load packages of their own.
    theirs = set(loaded_by("torch", "numpy", "cv2", "yaml", "safetensors.torch", "numba", "rclpy"))
    assert not (loaded - theirs) & (LAZY | {"featdepth_training"})
    wrong = []
    for path in sources:
        for found in imports_of(path):
            top = found.module.split(".")[0]
            ros = path.is_relative_to(SOURCES["featdepth_ros"] / "ros") and (
                top in ROS_MODULES or top.endswith(MESSAGES)
            )
            own = top == "featdepth_ros" or top in sys.stdlib_module_names
            if found.at_import and not (ros or own or top in NODE_PACKAGES):
                wrong.append(f"{where(path, found.line)} imports {top}")
    assert not wrong, "\n".join(wrong)
