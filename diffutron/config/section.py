"""What the sections of `params.yaml` are made of: their base class and the types they share."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

TaskName = Literal[
    "belebele_tr", "exams_tr", "ironytr", "news_cat", "mnli_tr", "sts_tr", "xcopa_tr"
]
TASKS: tuple[str, ...] = get_args(TaskName)

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Source = Literal["hub", "local", "sample"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, protected_namespaces=())


class HubName(Section):
    """A repository of the hub at a revision; `commit` is what the revision meant when it was
    written down by `diffutron params`."""

    name: str = Field(
        description="repository of the hub (OWNER/NAME); of a local source the folder"
    )
    revision: str = Field(description="branch, tag or commit of the repository")
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        default=None, description="what the revision meant; `diffutron params` writes it"
    )

    @property
    def title(self) -> str:
        """`OWNER/NAME @ REVISION (COMMIT)`, as reports say it."""
        return f"{self.name} @ {self.revision}" + (f" ({self.commit[:12]})" if self.commit else "")


class HubRows(HubName):
    """The rows of a data set of the hub; `limit` is the most that are read."""

    config: str | None = Field(
        default=None, description="subset of the data set; null is its only one"
    )
    split: str = Field(description="part of the data set that is read")
    limit: Positive | None = Field(
        default=None, description="the most rows that are read; null is all"
    )


class FromSource(Section):
    """A section whose material comes from one of the three places."""

    source: Source = Field(
        description="the hub, the folder DIFFUTRON_DATA, or the sample that ships"
    )
    digest: str | None = Field(description="of a local source; `diffutron params` writes it")
