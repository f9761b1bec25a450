"""What a stage depends on is what it runs: the imports of each command against dvc.yaml."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from diffutron.runtime.yaml_files import read_yaml

REPO = Path(__file__).resolve().parent.parent
COMMANDS = REPO / "diffutron" / "cli" / "stages.py"
OUTSIDE = ("cli", "config", "runtime")  # a help text retrains nothing
MAX_EXTRA = 8
TRAINING = ("backbone", "pretrain", "instruct_phase1", "instruct_phase2")
DEPENDENCIES = {
    name: [REPO / path for path in stage["deps"] if path.startswith("diffutron/")]
    for name, stage in read_yaml(REPO / "dvc.yaml")["stages"].items()
}


class _Runtime(ast.NodeTransformer):
    """Drops what only a type checker reads."""

    def visit_If(self, node: ast.If):
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or None
        return self.generic_visit(node)


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Every dotted name that some line of the code imports, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = ".".join(filter(None, [package, node.module])) if node.level else node.module
            yield from (f"{home}.{alias.name}" for alias in node.names)


def files_of(names: Iterable[str]) -> set[Path]:
    """The files that are run when these names are imported: modules and their packages."""
    found = set()
    for name in names:
        parts = name.split(".")
        for size in range(2, len(parts) + 1):
            place = REPO.joinpath(*parts[:size])
            candidates = (place.with_suffix(".py"), place / "__init__.py")
            found |= {path for path in candidates if parts[0] == "diffutron" and path.is_file()}
    return found


def called(name: str, functions: dict[str, ast.FunctionDef]) -> set[str]:
    """The functions of the module of commands that a command runs, itself among them."""
    found, todo = set(), [name]
    while todo:
        one = todo.pop()
        if one in found:
            continue
        found.add(one)
        names = {node.id for node in ast.walk(functions[one]) if isinstance(node, ast.Name)}
        todo += [other for other in names if other in functions and other.startswith("_")]
    return found


def code_of(stage: str) -> set[Path]:
    """Every file of the package that the command of a stage can import."""
    tree = ast.parse(COMMANDS.read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    todo: list[Path] = []
    for name in called(stage, functions):
        todo += files_of(imported(functions[name], "diffutron.cli"))
    found: set[Path] = set()
    while todo:
        path = todo.pop()
        if path in found or path.relative_to(REPO / "diffutron").parts[0] in OUTSIDE:
            continue
        found.add(path)
        code = _Runtime().visit(ast.parse(path.read_text(encoding="utf-8")))
        todo += files_of(imported(code, ".".join(path.relative_to(REPO).parent.parts)))
    return found


def holds_code(path: Path) -> bool:
    """Whether a file is more than the one sentence that a folder's `__init__.py` may be."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return path.name != "__init__.py" or len(body) > 1


def covers(dependency: Path, path: Path) -> bool:
    return dependency == path or dependency in path.parents


@pytest.mark.parametrize("stage", DEPENDENCIES)
def test_dvc_knows_the_code_of_a_stage(stage):
    code, dependencies = code_of(stage), DEPENDENCIES[stage]
    assert code
    missing = {p for p in code if not any(covers(one, p) for one in dependencies)}
    assert not {path.relative_to(REPO).as_posix() for path in missing if holds_code(path)}


@pytest.mark.parametrize("stage", DEPENDENCIES)
def test_a_stage_depends_on_little_that_it_does_not_run(stage):
    code = code_of(stage)
    declared = {
        path
        for one in DEPENDENCIES[stage]
        for path in ([one] if one.is_file() else one.rglob("*.py"))
        if path.name != "__init__.py"
    }
    extra = sorted(path.relative_to(REPO).as_posix() for path in declared - code)
    assert len(extra) <= MAX_EXTRA, extra


def stages_touched_by(path: str) -> set[str]:
    assert (REPO / path).exists()
    return {
        stage
        for stage, dependencies in DEPENDENCIES.items()
        if any(covers(one, REPO / path) or covers(REPO / path, one) for one in dependencies)
    }


def test_a_changed_sampler_retrains_nothing():
    assert stages_touched_by("diffutron/diffusion/sampling") == {"evaluate"}


def test_a_changed_chat_encoding_makes_the_instructions_anew():
    for path in ("modeling/encoding.py", "modeling/tokenizer.py", "inference/prompts.py"):
        assert "instructions" in stages_touched_by(f"diffutron/{path}")


@pytest.mark.parametrize("key", ["tasks", "tasks_dir", "tasks_digest"])
def test_one_more_task_touches_the_evaluation_alone(key):
    stages = read_yaml(REPO / "dvc.yaml")["stages"]
    touched = {
        name
        for name, stage in stages.items()
        if {"evaluate", f"evaluate.{key}"} & set(stage.get("params", []))
    }
    assert touched == {"evaluate"}


def test_a_changed_loss_trains_anew():
    assert set(TRAINING) <= stages_touched_by("diffutron/diffusion/process/loss.py")
