"""Every environment variable that the project reads: facts of a machine, never of a result.

python -m diffutron.config.environment > docs/reference/environment.md
"""

OURS = {
    "DIFFUTRON_ADDRESS": "address of this machine among several, for a training on many machines",
    "DIFFUTRON_API_KEY": "key that `diffutron serve` asks of its clients",
    "DIFFUTRON_CHECKPOINTS": "folder of checkpoints and cached answers; `checkpoints` if not set",
    "DIFFUTRON_CLONE": "clone that the worker of infra/compose.yaml works in",
    "DIFFUTRON_COLLECTIVE_TIMEOUT": "seconds after which a rank gives up on the others; 300",
    "DIFFUTRON_COMPILE": "0 runs without torch.compile",
    "DIFFUTRON_DATA": "folder of your own texts, instructions and evaluation rows",
    "DIFFUTRON_DEEPSPEED": "JSON file with offloading, bucket sizes and logging of DeepSpeed",
    "DIFFUTRON_EXECUTOR": "who cleans the shards of the corpus: local, ray or slurm",
    "DIFFUTRON_FIGURES": "file into which `make test-paper` writes its figures",
    "DIFFUTRON_HEAD": "host:port at which the ranks of several hosts meet",
    "DIFFUTRON_HOME": "clone in which a Prefect worker works",
    "DIFFUTRON_HOSTS": "number of hosts of one training",
    "DIFFUTRON_LEADS": "1 on the host at DIFFUTRON_HEAD, where its name does not tell",
    "DIFFUTRON_MATMUL": "blas or onednn, instead of what suits the processor",
    "DIFFUTRON_PYTHON": "Python of the Slurm job",
    "DIFFUTRON_RANKS": "processes of one training; the number of GPUs if not set",
    "DIFFUTRON_SLURM": "folder that all Slurm hosts see, for the executor slurm",
    "DIFFUTRON_TRACKING": "off keeps a build out of MLflow until `register` logs it",
}
SET_BY_THE_PROGRAM = {
    "DIFFUTRON_BUILD_RUN": "MLflow run of the build that a stage belongs to",
    "DIFFUTRON_CURVE": "table to which a training adds each point of its curve",
    "DIFFUTRON_LAUNCHER_PID": "process that started the ranks",
    "DIFFUTRON_RANK_ERRORS": "folder in which a rank leaves the reason of its end",
}
OTHERS = {
    "CC": "C compiler of torch.compile",
    "DS_ACCELERATOR": "kind of device that DeepSpeed takes",
    "DVC_STAGE": "set by DVC while it runs a stage",
    "GOMP_SPINCOUNT": "how long a thread spins before it sleeps; 300 if not set",
    "HF_ENDPOINT": "address of the hub",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1 keeps the hub's own bars away; set if it is not",
    "LOCAL_RANK": "set by the launcher: number of the rank on its host",
    "MLFLOW_TRACKING_URI": "address of the MLflow server; a file of the project if not set",
    "OMP_NUM_THREADS": "threads of one process",
    "OMP_WAIT_POLICY": "how threads wait; keeps GOMP_SPINCOUNT from being set",
    "PATH": "where commands are found",
    "PYTHONPATH": "taken away where a packed version is tried out",
    "RANK": "set by the launcher: number of the rank",
    "RAY_ADDRESS": "cluster of the executor ray",
    "TOKENIZERS_PARALLELISM": "set to false in the processes of the corpus",
    "TRANSFORMERS_VERBOSITY": "what transformers prints; error if not set",
    "WORLD_SIZE": "set by the launcher: number of ranks",
}


def page() -> str:
    """The page in Markdown, one table per kind."""
    parts = [
        "# Environment variables\n\nThey are facts of a machine, so no result depends on them. This"
        " page is made by\n`python -m diffutron.config.environment`.\n"
    ]
    tables = {
        "Ours": OURS,
        "Set by the program for its own processes": SET_BY_THE_PROGRAM,
        "Of others, read or set here": OTHERS,
    }
    for title, table in tables.items():
        rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in table.items())
        parts.append(f"\n## {title}\n\n| variable | meaning |\n|---|---|\n{rows}")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
