"""Run as a program: load a version as a server does, ask it a prompt, score a pair.

    python -P smoke_test.py MODEL_URI PROMPT OUT

It imports nothing of diffutron but what the version carries. A development install would answer
for a module that the version lacks, so its import hook is taken away, and so is every folder on
the path that holds a copy of the package and is no folder of installed libraries.
"""

import json
import sys
from pathlib import Path


def hide_other_copies() -> None:
    """Take away what could import a diffutron other than that of the version."""
    sys.meta_path[:] = [
        finder
        for finder in sys.meta_path
        if not str(getattr(finder, "__module__", "")).startswith("__editable__")
    ]
    sys.path[:] = [
        place
        for place in sys.path
        if not (Path(place) / "diffutron").is_dir() or (Path(place) / "mlflow").is_dir()
    ]


def main(model_uri: str, prompt: str, out: str) -> None:
    from mlflow.artifacts import download_artifacts
    from mlflow.pyfunc import load_model

    folder = Path(download_artifacts(artifact_uri=model_uri)).resolve()
    if (folder / "code/diffutron/registry").is_dir():
        hide_other_copies()
    # else: release 0.1 left three modules to the development install (see diffutron/loading.py)
    served = load_model(str(folder))
    (answer,) = served.predict([prompt])

    import diffutron

    if not Path(str(diffutron.__file__)).is_relative_to(folder):
        raise SystemExit(f"the code that answered is {diffutron.__file__}, not the version's")
    lm = served.unwrap_python_model().lm
    (scored,) = diffutron.score(lm, [(prompt, " Ankara")])
    Path(out).write_text(json.dumps({"answer": answer, "logprob": scored.logprob}), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
