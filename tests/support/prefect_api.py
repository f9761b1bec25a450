"""The few calls of a Prefect server that a person makes by clicking."""

import time
from dataclasses import dataclass
from typing import Any

from tests.support.http import client
from tests.support.processes import wait_for

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class PrefectApi:
    """A server at `url`, which ends with `/api`."""

    url: str

    def call(self, method: str, path: str, **body: Any) -> Any:
        deadline = time.monotonic() + 60
        while True:
            answer = client().request(method, f"{self.url}{path}", json=body or None)
            if answer.status_code != 503 or time.monotonic() > deadline:
                break
            time.sleep(1)  # its database is busy; Prefect's own client asks again as well
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def deployments(self) -> dict[str, str]:
        """Name -> id."""
        found = self.call("POST", "/deployments/filter")
        return {each["name"]: each["id"] for each in found}

    def run(self, name: str, **parameters: Any) -> str:
        """Ask for a run of a deployment; its id."""
        path = f"/deployments/{self.deployments()[name]}/create_flow_run"
        asked = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        return self.call("POST", path, **asked)["id"]

    def cancel(self, run: str) -> None:
        self.call("POST", f"/flow_runs/{run}/set_state", state={"type": "CANCELLING"})

    def state(self, run: str) -> dict[str, Any]:
        """Type, name and message."""
        return self.call("GET", f"/flow_runs/{run}")["state"]

    def tasks(self, run: str) -> dict[str, dict[str, Any]]:
        """Name -> state."""
        found = self.call("POST", "/task_runs/filter", flow_runs={"id": {"any_": [run]}}, limit=100)
        return {task["name"]: task["state"] for task in found}

    def logs(self, run: str) -> list[str]:
        found = self.call("POST", "/logs/filter", logs={"flow_run_id": {"any_": [run]}})
        return [each["message"] for each in found]

    def wait_for_log(self, run: str, line: str, seconds: float = 400) -> None:
        """Until a run has logged a line; a run that ends without it fails with what it said."""

        def found() -> bool:
            said, state = self.logs(run), self.state(run)
            ended = line not in said and state["type"] in ENDED
            assert not ended, f"no line {line!r}: {state}\n" + "\n".join(said)
            return line in said

        wait_for(found, seconds=seconds, what=f"the line {line!r}")

    def artifacts(self, run: str) -> dict[str, str]:
        wanted = {"flow_run_id": {"any_": [run]}}
        found = self.call("POST", "/artifacts/filter", artifacts=wanted, limit=100)
        return {artifact["key"]: str(artifact["data"]) for artifact in found}
