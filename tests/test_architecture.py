"""Who may import whom (the design's table), walked with ast; and the sizes we hold ourselves to."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
GROUND = {"runtime", "config"}
CORE = GROUND | {"text", "diffusion", "modeling", "inference", "sample"}
STAGES = CORE | {"data", "paper"}
ALLOWED = {
    "runtime": set(),
    "diffusion": set(),
    "config": {"runtime"},
    "text": GROUND,
    "modeling": GROUND | {"diffusion"},
    "sample": GROUND | {"text"},
    "inference": GROUND | {"modeling", "diffusion"},
    "api": CORE,
    "pages": set(),
    "data": GROUND | {"text", "sample", "pages"},
    "paper": CORE | {"data"},
    "planning": CORE | {"data", "paper"},
    "training": CORE | {"data"},
    "evaluation": CORE | {"data"},
    "reporting": STAGES | {"pages"},
    "registry": STAGES | {"api", "evaluation", "reporting"},
    "operations": STAGES | {"api", "registry"},
    "lab": STAGES | {"training", "evaluation", "reporting", "registry", "operations", "pages"},
    "serving": CORE,
    "tuning": STAGES
    | {"training", "evaluation", "planning", "reporting", "registry", "operations"},
    "loading": set(),  # for versions of release 0.1, whose modules it imports by name
    "cli": None,  # anything, lazily
    "flows": None,
}
MAX_MODULES = 20
HEAVY = {
    "huggingface_hub": ("diffutron/runtime/hub.py",),
    "lm_eval": ("diffutron/evaluation/",),
    "mlflow": ("diffutron/registry/", "diffutron/inference/loading.py"),
    "deepspeed": ("diffutron/training/",),
    "prefect": ("flows/",),
    "fastapi": ("diffutron/serving/",),
    "uvicorn": ("diffutron/serving/",),
    "prometheus_client": ("diffutron/serving/",),
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
    return "flows" if relative.parts[0] == "flows" else relative.parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", python_files("diffutron", "flows"), ids=str)
def test_imports_follow_the_table(path):
    package = package_of(path)
    if package in {"__init__", "__main__"}:
        return  # the lazy door of `api`, and the command line
    allowed = ALLOWED[package]
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "flows":
            assert package in {"flows", "cli"}, f"{path.relative_to(REPO)} may not import {module}"
        if parts[0] != "diffutron" or len(parts) < 2 or parts[1] == package or allowed is None:
            continue
        assert parts[1] in allowed, f"{path.relative_to(REPO)} may not import {module}"


def subject_of(module: str) -> str:
    """The folder of a module; a module at the root of the package stands for itself."""
    path = Path(*module.split("."))
    folder = path if (REPO / path).is_dir() else path.parent
    return module if folder == Path("diffutron") else ".".join(folder.parts)


def test_no_circle_of_folders_or_files():
    files: dict[str, set[str]] = {}
    folders: dict[str, set[str]] = {}
    known = {
        ".".join(p.relative_to(REPO).with_suffix("").parts)
        for p in python_files("diffutron")
        if p.name != "__init__.py"
    }
    for path in python_files("diffutron"):
        if path.name == "__init__.py" and path.parent.name != "sample":
            continue
        name = ".".join(path.relative_to(REPO).with_suffix("").parts)
        seen = {module for module in imports(path) if module in known and module != name}
        files[name] = seen
        folders.setdefault(subject_of(name), set()).update(
            subject_of(module) for module in seen if subject_of(module) != subject_of(name)
        )
    for graph in (files, folders):
        try:
            tuple(TopologicalSorter(graph).static_order())
        except CycleError as circle:
            raise AssertionError(f"a circle of imports: {circle.args[1]}") from None


def test_a_folder_holds_what_one_can_survey():
    folders = {path.parent for path in python_files("diffutron", "flows")}
    for folder in folders:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= (4 if folder.name == "diffutron" else MAX_MODULES), folder


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
        "import sys, diffutron.cli.app; "
        "print([m for m in ('torch','transformers','mlflow','prefect','deepspeed','fastapi') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
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
