"""Reader of the imports in the files of both packages, which does not import them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"featdepth_ros": ROOT / "featdepth_ros", "featdepth_training": ROOT / "training" / "featdepth_training"}


@dataclass(frozen=True)
class Import:
    """An import statement: its module, its line, and whether it runs when the file is imported."""

    module: str
    names: tuple[str, ...]
    line: int
    at_import: bool


def files() -> list[Path]:
    return sorted(path for root in SOURCES.values() for path in root.rglob("*.py"))


def module_name(path: Path) -> str:
    for package, root in SOURCES.items():
        if path.is_relative_to(root):
            parts = [package, *path.relative_to(root).with_suffix("").parts]
            return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    raise AssertionError(path)


def _is_type_checking(node: ast.If) -> bool:
    return "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST, package: str, at_import: bool = True, types: bool = False) -> Iterator[Import]:
    """Yield every import in ``tree``; those for type checkers only if ``types`` is set.

    ``package`` is the package from which relative imports are resolved.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), node.lineno, at_import)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield Import(module, tuple(alias.name for alias in node.names), node.lineno, at_import)
        elif isinstance(node, ast.If) and _is_type_checking(node):
            for branch in node.orelse:
                yield from imports(ast.Module([branch], []), package, at_import, types)
            for branch in node.body if types else ():
                yield from imports(ast.Module([branch], []), package, False, types)
        else:
            inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports(node, package, at_import and not inside, types)


def imports_of(path: Path, types: bool = False) -> list[Import]:
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return list(imports(ast.parse(path.read_text(encoding="utf-8")), package, types=types))


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"
