"""The keys of a task file: lm-eval's, and under `metadata` what lm-eval does not know of a task."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diffutron.config.section import Share

FILES = ("csv", "json", "parquet")  # of `dataset_path`; any other name is one of the hub
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=80)]
Words = Annotated[str, Field(min_length=1)]
Separator = Annotated[str, Field(min_length=1, max_length=1)]


class Part(BaseModel):
    """A part of a task file; an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid")


class PublishedScore(Part):
    """What somebody else has measured; shares of 1. low, high: of their interval."""

    name: Words
    size: str | None = None
    acc: Share
    low: Share | None = None
    high: Share | None = None


class Published(Part):
    """Scores that are shown beside ours, marked as published. source: where they stand.

    interval: what their intervals are, in words.
    """

    source: Words
    interval: str = ""
    systems: Annotated[list[PublishedScore], Field(min_length=1)]


class LocalFiles(Part):
    """Files in the folder of `--data` that are read instead of the hub. sep: of a table."""

    files: Words  # a pattern such as `turblimp/*.csv`
    sep: Separator = ","


class Metadata(Part):
    """What lm-eval does not know of a task.

    cluster, parts: a field, or a template over the fields and `source` (the file without its
    ending, or the configuration of the hub). Rows of one cluster are drawn together in the
    bootstrap; each part has a line of its own in the table, and without `parts` each cluster has.
    drop_equal: rows of `minimal_pairs` whose two texts are the same are left out and counted.
    """

    kind: Literal["multiple_choice", "minimal_pairs"] = "multiple_choice"
    normalization: Literal["none", "characters", "bytes"] = "none"
    cluster: Words | None = None
    parts: Words | None = None
    drop_equal: bool = False
    license: str | None = None
    citation: str | None = None
    rows: Annotated[int, Field(gt=0)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    version: float | str | None = None
    local: LocalFiles | None = None
    published: Published | None = None


class DatasetOptions(BaseModel):
    """How a data set is opened; the names are those of `datasets`, whose others are read over.

    field: of a JSON file, the key of its list of rows. sep: of a table. revision: of the hub.
    Ours are distribution, an installed package that the files lie in, and extra, that of this
    project that installs it.
    """

    data_files: Any = None
    field: Words | None = None
    sep: Separator = ","
    revision: Annotated[str, Field(coerce_numbers_to_str=True)] = "main"
    distribution: Words | None = None
    extra: Words | None = None


class TaskSpec(BaseModel):
    """The keys of a task file. Those of lm-eval that change no question are read over."""

    model_config = ConfigDict(extra="forbid")

    task: Name
    dataset_path: Words
    dataset_name: str | list[str] | None = None  # configurations of the hub
    dataset_kwargs: DatasetOptions = DatasetOptions()
    test_split: Words = "test"
    training_split: Words | None = None
    output_type: Literal["multiple_choice"] = "multiple_choice"
    doc_to_text: str = ""
    doc_to_choice: list[str] | Words
    doc_to_target: int | str = 0
    target_delimiter: str = " "
    metadata: Metadata = Metadata()
    # Read over:
    task_alias: Any = None
    tag: Any = None
    group: Any = None
    num_fewshot: Any = None
    fewshot_split: Any = None
    validation_split: Any = None
    metric_list: Any = None
    should_decontaminate: Any = None
    doc_to_decontamination_query: Any = None

    @model_validator(mode="after")
    def kind_fits(self) -> "TaskSpec":
        if self.metadata.kind == "minimal_pairs":
            if self.doc_to_text:
                raise ValueError("minimal_pairs compares two texts: leave `doc_to_text` out")
            if self.doc_to_target != 0:
                raise ValueError("minimal_pairs: `doc_to_target` is 0, the good text comes first")
        elif not self.doc_to_text:
            raise ValueError("`doc_to_text` is missing; a multiple-choice task asks something")
        return self
