"""Who may import whom (the design's table), walked with ast; and the sizes we hold ourselves to."""

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
LEAVES = {
    "errors",
    "outputs",
    "params",
    "params_data",
    "progress",
    "provenance",
    "stores",
    "yaml_files",
}
ALLOWED = {
    "diffusion": set(),
    "modeling": LEAVES,
    "data": LEAVES,
    "training": LEAVES | {"modeling", "data", "diffusion"},
    "evaluation": LEAVES | {"modeling", "data", "diffusion"},
    "loading": LEAVES | {"modeling"},
    "api": LEAVES | {"modeling", "diffusion", "loading"},
    "reporting": LEAVES,
    "registry": LEAVES | {"api"},
    "flows": {"params", "errors", "guard", "up", "why"},
}
# Named exceptions: one module of a package may see one more thing.
EXTRA = {("registry", "evaluation.statistics"), ("flows", "training.hosts")}
HEAVY = {
    "lm_eval": ("diffutron/evaluation/",),
    "mlflow": ("diffutron/registry/", "diffutron/loading.py"),
    "deepspeed": ("diffutron/training/",),
    "prefect": ("flows/",),
}
CUDA_SHARE = 0.03


def python_files(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (REPO / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every absolute module name that a file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{path}: import from a parent package"
            home = ".".join(path.relative_to(REPO).parent.parts)
            module = f"{home}.{node.module or ''}".rstrip(".") if node.level else node.module
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module or ""}
    return found


def package_of(path: Path) -> str:
    relative = path.relative_to(REPO)
    if relative.parts[0] == "flows":
        return "flows"
    return relative.parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", python_files("diffutron", "flows"), ids=str)
def test_imports_follow_the_table(path):
    package = package_of(path)
    if package not in ALLOWED:
        return  # the command line, `up` and `plan` stand above the packages
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "diffutron" or len(parts) < 2 or parts[1] == package:
            continue
        allowed = parts[1] in ALLOWED[package] or any(
            package == user and module.startswith(f"diffutron.{extra}") for user, extra in EXTRA
        )
        assert allowed, f"{path.relative_to(REPO)} may not import {module}"


@pytest.mark.parametrize("path", python_files("diffutron", "flows"), ids=str)
def test_heavy_packages_stay_in_their_modules(path):
    relative = path.relative_to(REPO).as_posix()
    for module in imports(path):
        homes = HEAVY.get(module.split(".")[0])
        assert homes is None or relative.startswith(homes), f"{relative} imports {module}"


def test_the_mathematics_imports_torch_alone():
    standard = {"torch", "math", "dataclasses", "collections", "typing", "itertools", "functools"}
    standard |= {"heapq"}
    for path in python_files("diffutron/diffusion"):
        outside = {m.split(".")[0] for m in imports(path)} - standard - {"diffutron", "__future__"}
        assert not outside, f"{path.name}: {outside}"


def test_nothing_heavy_is_imported_by_the_command_line():
    import subprocess
    import sys

    code = (
        "import sys, diffutron.cli; "
        "print([m for m in ('torch','transformers','mlflow','prefect','deepspeed') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_prefect_server_imports():
    """A clean `pip check` does not catch a FastAPI too new for Prefect; an import does."""
    import prefect.server.api.server  # noqa: F401  the import is the test


def test_lines_only_for_cuda_are_few():
    lines = [
        line
        for path in python_files("diffutron", "flows")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]
    marked = sum("# cuda only" in line for line in lines)
    assert marked <= CUDA_SHARE * len(lines)


def test_no_file_of_the_named_kinds():
    forbidden = {"utils.py", "common.py", "helpers.py", "base.py"}
    assert not [p for p in python_files("diffutron", "flows") if p.name in forbidden]
