"""How a run is done, as settings without torch: what `training.config` puts together."""
