"""How Prefect runs a study: the flow, its tasks, its limits. Only this needs its engine."""
