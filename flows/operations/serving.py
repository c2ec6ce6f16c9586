"""A study deployed: started, scheduled and retried from the UI, by a process that stays."""

import asyncio
import os
import signal
from typing import Any

from prefect.runner import Runner

from flows.config import StudyConfig
from flows.flow import stemworks
from flows.study import EVERYTHING
from storage.layout import Home
from storage.processes import children


class PassingRunner(Runner):
    """Passes SIGTERM on to the flows that it runs, whose jobs then write their checkpoints.

    Prefect's own runner stops asking for work, never tells the flows, and waits for their end.
    """

    def handle_sigterm(self, *_args: Any, **_kwargs: Any) -> None:
        """Tell every flow, then leave as on Ctrl-C, waiting for them."""
        for child in children():
            os.kill(child, signal.SIGTERM)
        raise SystemExit(143)


def serve(config: StudyConfig, home: Home, recipe: str, cron: str) -> None:
    """Deploy a study, and run what is scheduled, started or retried until a signal comes."""
    runner = PassingRunner(name=config.name)
    runner.add_flow(
        stemworks,
        name=config.name,
        parameters={
            "config": config.model_dump(mode="json"),
            "home": home.url,
            "part": EVERYTHING,
        },
        cron=cron or None,
        tags=["stemworks", recipe],
        description=f"Study '{config.name}' by recipe '{recipe}' in {home.url}.",
    )
    asyncio.run(runner.start())
