"""What each stage of a study builds, without Prefect."""
