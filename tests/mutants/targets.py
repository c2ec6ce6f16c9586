"""Where a wrong number would hide, and which tests guard it: quick ones first."""

from tests.mutants.trial import Target

TARGETS = {
    "snr": Target("training.losses.snr", ("tests/training/losses/test_snr.py",)),
    "level": Target("training.losses.level", ("tests/training/losses/test_level.py",)),
    "mixit": Target("training.losses.mixit", ("tests/training/losses/test_mixit.py",)),
    "metrics": Target("training.scoring.metrics", ("tests/training/scoring/test_metrics.py",)),
    "bootstrap": Target(
        "training.scoring.bootstrap", ("tests/training/scoring/test_bootstrap.py",)
    ),
    "order": Target("training.data.clips.order", ("tests/training/data/clips/test_order.py",)),
    "mixtures": Target("training.data.mixtures", ("tests/training/data/test_mixtures.py",)),
    "seeds": Target("training.seeds", ("tests/training/test_seeds.py",)),
    "schedules": Target(
        "training.settings.schedules", ("tests/training/settings/test_schedules.py",)
    ),
    "overlap_add": Target(
        "training.inference.overlap_add", ("tests/training/inference/test_overlap_add.py",)
    ),
    "selection": Target(
        "training.jobs.select_channels", ("tests/training/jobs/test_select_channels.py",)
    ),
    "statistics": Target(
        "training.objectives.mixit.statistics",
        ("tests/training/objectives/mixit/test_statistics.py",),
    ),
    "estimates": Target(
        "flows.studies.estimates",
        ("tests/flows/studies/test_estimates_counts.py", "tests/flows/studies/test_estimates.py"),
    ),
    "plan": Target("pipelines.tracks.plan", ("tests/pipelines/tracks/test_plan.py",)),
    "activity": Target("pipelines.stems.activity", ("tests/pipelines/stems/test_activity.py",)),
    "filters": Target("pipelines.packing.filters", ("tests/pipelines/packing/test_filters.py",)),
    "clips": Target("pipelines.packing.clips", ("tests/pipelines/packing/test_clips.py",)),
    "flac": Target("storage.audio.flac_frames", ("tests/storage/audio/test_flac_frames.py",)),
    "waveforms": Target("storage.audio.waveforms", ("tests/storage/audio/test_waveforms.py",)),
    "clip_table": Target(
        "storage.shards.clip_table",
        (
            "tests/storage/shards/test_clip_table.py",
            "tests/storage/shards/test_reader.py",
        ),
    ),
    "reader": Target(
        "storage.shards.reader",
        ("tests/storage/shards/test_reader.py", "tests/storage/shards/test_cache.py"),
    ),
    "writer": Target("storage.shards.writer", ("tests/storage/shards/test_writer.py",)),
    "marks": Target(
        "storage.home.marks",
        ("tests/storage/home/test_marks.py", "tests/storage/home/test_marks_elsewhere.py"),
    ),
}
"""By the name that `--module` takes."""
SAMPLE = Target("tests.mutants.sample", ("tests/mutants/sample_tests.py",))
"""What the tool itself is tried on."""
