"""What each command looks like in use; `--help` ends with it."""

from diffutron.config.params import STAGES

EXAMPLES: dict[str, tuple[str, ...]] = {
    **{stage: (f"diffutron {stage}", f"dvc repro {stage}") for stage in STAGES},
    "corpus": ("diffutron corpus --workers 2", "diffutron corpus --explain texts.jsonl"),
    "build": (
        "diffutron build --profile demo",
        "diffutron build --profile demo -S pretrain.training.steps=400 -S seed=14",
        "diffutron build --first evaluate --last report",
    ),
    "params": (
        "diffutron params --profile small -S seed=14",
        "diffutron params --profile current -S corpus.use=commercial",
        "diffutron params --profile demo -S corpus.source=hub -S 'corpus.hub=[fineweb2, muhaz]'",
    ),
    "plan": ("diffutron plan", "diffutron plan --profile paper --gpu-tflops 400 --ranks 8"),
    "up": ("diffutron up", "diffutron up --prefect-port 4201 --mlflow-port 5001"),
    "generate": (
        'diffutron generate --model models/phase2 "Çok yoruldum çünkü"',
        "diffutron generate --model models:/diffutron@champion --input prompts.jsonl --json",
    ),
    "infill": ('diffutron infill --model models/merged "Ankara [MASK] başkentidir."',),
    "decide": (
        'diffutron decide --model models/phase2 --question "Soru: Bu cümlenin konusu nedir?" '
        '--context "Cümle: Takım maçı kazandı." --option spor --option ekonomi --option sağlık',
        'diffutron decide --model models:/diffutron@champion --question "Bu cümlede ironi var mı?" '
        '--context "Yine yağmur, ne güzel." --option Evet --option Hayır --json',
    ),
    "score": ('diffutron score --model models/phase2 "Çok yoruldum çünkü" " bütün gün çalıştım."',),
    "chat": ("diffutron chat --model models/phase2", "diffutron chat --model my-model --memory 2"),
    "serve": (
        "diffutron serve --model models:/diffutron@champion --host 127.0.0.1 --port 8400",
        "diffutron serve --model models/phase2 --max-batch-tokens 4096 --timeout 60",
    ),
    "tune": (
        "diffutron tune --model diffutron/DiffutronLM-0.3B-Instruct --data my.jsonl --out my-model",
        "diffutron tune --model models/phase2 --data my.jsonl --out mine -S training.epochs=5",
    ),
    "trim": (
        "diffutron trim --model jhu-clsp/mmBERT-base --data texts/ --size 24000 --out small",
        "diffutron trim --model my-model --data my.jsonl --size 8000 --out my-small-model --json",
    ),
    "leaderboard": (
        "diffutron leaderboard --data sample --only random,bow,diffutron-demo",
        "diffutron leaderboard --data hub --tasks news_cat --limit 200",
        "diffutron leaderboard --tasks turkmorfbench --only random,constant,diffutron-demo",
    ),
    "leaderboard check": ("diffutron leaderboard check leaderboard",),
    "leaderboard merge": ("diffutron leaderboard merge ours theirs --out joint",),
    "tasks": ("diffutron tasks", "diffutron tasks --tasks-dir my-tasks --data sample --json"),
    "tasks check": (
        "diffutron tasks check my-tasks/soru_bankasi.yaml",
        "diffutron tasks check my-tasks/soru_bankasi.yaml --tokenizer models/phase2",
        "diffutron tasks check turkmorfbench",
    ),
    "compare": (
        "diffutron compare data/evaluation:phase1 data/evaluation:phase2",
        "diffutron compare models:/diffutron@champion models:/diffutron@challenger",
    ),
    "claims": ("diffutron claims",),
    "perplexity": ("diffutron perplexity --model models/merged --documents 50",),
    "sweep": (
        "diffutron sweep infra/sweeps/demo.yaml --workers 2",
        "diffutron sweep mine.yaml --json | jq '.arms | map_values(.verdict)'",
    ),
    "gate": ("diffutron gate challenger", "diffutron gate 3 --use commercial"),
    "promote": ('diffutron promote 3 --by Ayşe --reason "better on news"',),
    "rollback": ('diffutron rollback --to 2 --by Ayşe --reason "wrong answers to long questions"',),
    "history": ("diffutron history",),
    "export": ("diffutron export champion --to champion",),
    "publish": ("diffutron publish champion --dry-run",),
    "reproduce": ("diffutron reproduce 3 --check",),
    "why": ("diffutron why pretrain",),
    "clean": ("diffutron clean", "diffutron clean --yes"),
    "check": ("diffutron check", "diffutron check --json"),
    "metrics": ("diffutron metrics", "diffutron metrics heldout --json"),
}


def epilog(command: str) -> str:
    """The end of a command's help; a bracket is no mark-up."""
    lines = [line.replace("[", "\\[") for line in EXAMPLES[command]]
    return "\n\n".join(["Examples:", *(f"  {line}" for line in lines)])
