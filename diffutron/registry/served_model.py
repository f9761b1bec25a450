"""What a registered version does when MLflow loads or serves it (a models-from-code pyfunc).

MLflow copies this file into the version and runs it there. It needs torch and transformers; the
modules of diffutron that generate travel with the version.
"""

import logging
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

PARAMS = ("max_new_tokens", "num_steps", "block_length", "temperature", "seed")


class RefuseUnknownParams(logging.Filter):
    """MLflow drops a parameter it does not know with a warning, before the model sees it.

    That warning is the one place left to refuse it; it names the allowed ones, by which the
    warnings of other models in the same process are told apart.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith("Unrecognized params") and all(f"'{name}'" in text for name in PARAMS):
            unknown = text.partition("[")[2].partition("]")[0]
            raise MlflowException.invalid_parameter_value(
                f"unknown params {unknown}; allowed are {', '.join(PARAMS)}"
            )
        return True


class ServedModel(PythonModel):
    """Answers Turkish prompts: list of strings in, list of strings out."""

    def load_context(self, context: Any) -> None:
        import diffutron

        try:
            self.lm = diffutron.load(context.artifacts["model"])  # verifies the checksums
        except ValueError as error:
            raise MlflowException(str(error)) from error
        log = logging.getLogger("mlflow.models.utils")
        if not any(isinstance(one, RefuseUnknownParams) for one in log.filters):
            log.addFilter(RefuseUnknownParams())

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] the base returns nothing
        self, context: Any, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[str]:
        """One answer a prompt; a parameter that is not given comes from the model's settings."""
        import diffutron

        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            answers = diffutron.generate(self.lm, list(model_input), **given)
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return [answer.text for answer in answers]


set_model(ServedModel())
