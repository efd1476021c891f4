"""Runs a retraining workflow to its end: diagnose, train, validate, roll out, settle."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from core import telemetry
from core.schemas.predictions import ENGAGEMENT
from core.schemas.workflows import ENDED, Step
from core.store.ids import new_id


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the job; fails when the workflow does."""
    from actors.runtime import remote
    from cluster.jobs.session import job
    from core.codec import to_json
    from core.protocols import OrchestratorService

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=ENGAGEMENT)
    parser.add_argument("--tune", action="store_true", help="search for hyper-parameters first")
    parser.add_argument("--key", default=None, help="the same key is the same workflow")
    options = parser.parse_args(arguments)
    with job("retrain"):
        log = telemetry.logger("retrain")
        orchestrator = remote(OrchestratorService, "orchestrator")
        key = options.key or f"job:{new_id()}"
        workflow = orchestrator.start_workflow(options.model, "manual", key, {"tune": options.tune})
        step: Step | None = None
        while workflow.step not in ENDED:
            if workflow.step is not step:
                step = workflow.step
                log.info("step", workflow=workflow.id, step=str(step))
            time.sleep(1.0)
            workflow = orchestrator.workflow(workflow.id)
        print(to_json(workflow))
        if workflow.step is Step.FAILED:
            sys.exit(1)


if __name__ == "__main__":
    main()
