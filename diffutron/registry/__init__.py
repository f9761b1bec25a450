"""MLflow: log a run, decide by the gate, register a version, move the champion."""
