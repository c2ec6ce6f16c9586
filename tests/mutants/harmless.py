"""Mutants that no test need notice, by module and reason: they change nothing that is promised.

An entry is the mutant's name as the tool prints it. It names no line, so it outlives edits; where
the source around the fault changes, the tool says that the entry names nothing any more.
"""

AT_ONCE = "how much is done at a time: memory and speed, never a result"
KEPT = "how many results are kept: what is forgotten is computed again, the same"
LOG = "when a line of progress is logged"
FAST_WAY = "a shorter way to the same result is not taken"
PASSED_OVER = "no caller passes on, reads or compares what is changed here"
UNUSED = "the value is never looked at"
TUNED = "a figure chosen by experience: twice as much, or one more, is as right"
NEVER = "a case that never is: what would tell it apart is refused before"
EQUAL = "equal where it decides: either choice costs the same"
COMMON = "the same for all that is compared"
SAME = "both are the same here"
REPLACED = "it stands in for a number that cannot be, and its result is replaced or multiplied by 0"

HARMLESS: dict[str, dict[str, tuple[str, ...]]] = {
    "training.losses.snr": {
        EQUAL: (
            "supervised_loss: signal_BSC >= 10 ** (inactive_db / 10) * (mixture_B1C + EPS): "
            ">= => >",
        ),
    },
    "training.losses.mixit": {
        COMMON: ("_candidate_losses: return (losses_BP[0] + losses_BP[1]) / 2: 2 => 3",),
        AT_ONCE: (
            "_inner_products: rows_RT.shape[-1] // SAMPLES_AT_ONCE * SAMPLES_AT_ONCE: 1 => 2",
            "_inner_products: rows_RT.shape[-1] // SAMPLES_AT_ONCE * SAMPLES_AT_ONCE: 1 => 0",
        ),
    },
    "training.scoring.metrics": {
        AT_ONCE: (
            "module: PROBE = 64: 64 => 65",
            "_pieces: max(1, AT_ONCE // max(1, reference.shape[:-1].numel())): 1 => 0 (2)",
            "_pieces: max(1, AT_ONCE // max(1, reference.shape[:-1].numel())): 1 => 2 (3)",
        ),
        SAME: (
            "nanmedian: return values.new_full(values.shape[:-1], torch.nan): return => return -",
        ),
    },
    "training.scoring.bootstrap": {
        AT_ONCE: (
            "module: BLOCK = 1 << 20: 1 => 2",
            "module: BLOCK = 1 << 20: 1 => 0",
            "module: BLOCK = 1 << 20: 20 => 21",
            "module: BLOCK = 1 << 20: 20 => 19",
            "resample: at_once = max(1, BLOCK // max(1, songs * stems)): 1 => 2",
            "resample: at_once = max(1, BLOCK // max(1, songs * stems)): // => *",
            "resample: at_once = max(1, BLOCK // max(1, songs * stems)): 1 => 2 (2)",
            "resample: at_once = max(1, BLOCK // max(1, songs * stems)): 1 => 0 (2)",
        ),
        SAME: (
            "intervals: stems = len(scores_NS[0]) if len(scores_NS) else 0: 0 => -1",
            "intervals: stems = len(scores_NS[0]) if len(scores_NS) else 0: 0 => -1 (2)",
        ),
        REPLACED: (
            "resample: drawn_RNS[np.broadcast_to(~some_RS[:, None], drawn_RNS.sh...: 0 => 1",
        ),
    },
    "training.data.clips.order": {
        AT_ONCE: ("module: TRIES = 32: 32 => 33", "module: TRIES = 32: 32 => 31"),
        KEPT: (
            "ClipOrder.__init__: self._epoch = lru_cache(maxsize=2)(self._pairs_of_epoch): 2 => 3",
            "ShardOrder.__init__: self._epoch = lru_cache(maxsize=3)(self._layout_of_epoch): "
            "3 => 2",
        ),
        FAST_WAY: ("pair_up: np.flatnonzero(tracks[pairs[:, 0]] == tracks[pairs[:, 1]]): 0 => 1",),
    },
    "training.data.mixtures": {
        REPLACED: (
            "scale_pair: power_BM[:, 1] / power_BM[:, 0].where(sounding_B, 1.0): 1.0 => 2.0",
            "level_stems: 10 ** (gain_db_BS / 20) / level_BS.where(level_BS > 0, 1.0): 1.0 => 2.0",
        ),
    },
    "training.inference.overlap_add": {
        NEVER: (
            "_level: exponent_C1 = rms_C1.clamp_min(2.0 ** (-60)).log2().round(): 2.0 => 4.0",
            "_level: exponent_C1 = rms_C1.clamp_min(2.0 ** (-60)).log2().round(): 60 => 61",
        ),
        SAME: (
            "chunk_spans: end = spans[-1][0] + chunk: 0 => 1",
            "chunk_spans: end = spans[-1][0] + chunk: 0 => -1",
            "chunk_spans: spans.append((length - chunk, spans[-1][0] + hop)): 0 => 1",
            "_outputs: loud_K = (chunks_KCT.abs() > SILENT_PEAK).any(-1).any(-1): 1 => 2",
        ),
        UNUSED: ("device_of: return next(_tensors(model), torch.empty(0)).device: 0 => 1",),
    },
    "training.jobs.select_channels": {
        LOG: (
            "module: LINES = 20: 20 => 19",
            "choose: (number + 1) % max(1, len(segments) // LINES) == 0: + => -",
            "choose: (number + 1) % max(1, len(segments) // LINES) == 0: 1 => 0",
            "choose: (number + 1) % max(1, len(segments) // LINES) == 0: 1 => 2 (2)",
            "choose: (number + 1) % max(1, len(segments) // LINES) == 0: 0 => 1",
            "choose: (number + 1) % max(1, len(segments) // LINES) == 0: 0 => -1",
            "choose: _log_progress(number + 1, len(segments)): + => -",
            "choose: _log_progress(number + 1, len(segments)): 1 => 2",
            "choose: _log_progress(number + 1, len(segments)): 1 => 0",
        ),
        COMMON: (
            "majority: (quality_SN - quality_SN.min()) / spread: - => +",
            "majority: (quality_SN - quality_SN.min()) / spread: min => max",
            "majority: spread = float(np.ptp(quality_SN)) or 1.0: 1.0 => 2.0",
            "_snr_of_chunk: 10 * torch.log10(energy_S[stem] / (error_N + EPS)): 10 => 11",
        ),
        TUNED: (
            "module: EPS = 1e-08: 1e-08 => 2e-08",
            "majority: 2 * len(votes_SN): 2 => 3",
        ),
        UNUSED: (
            "_snr_of_chunk: return (active.numpy(), np.zeros((0, model.config.outputs))): 0 => 1",
            "_snr_of_chunk: waveforms_of(model, mixture_CT[None, None])[0].cpu(): 0 => -1",
        ),
        EQUAL: (
            "_snr_of_chunk: active = torch.nonzero(energy_S > max(floor, EPS)).flatten(): > => >=",
        ),
    },
    "training.objectives.mixit.statistics": {
        TUNED: ("module: QUIET = 1e-12: 1e-12 => 2e-12",),
    },
    "flows.studies.estimates": {
        TUNED: ("module: RECENT = 200: 200 => 400",),
        UNUSED: ("_hours: return 0.0: 0.0 => 1.0",),
    },
    "pipelines.packing.clips": {
        FAST_WAY: ("clipped: sound.max() <= 1 and sound.min() >= -1: 1 => 0 (2)",),
    },
    "storage.audio.flac_frames": {
        AT_ONCE: (
            "FlacEncoder.__init__: self._encoder.thread_count = 1: 1 => 2",
            "_powers: range((1 << bits) - 1): 1 => 2",
        ),
        PASSED_OVER: ("FlacEncoder.encode: self._samples += samples.shape[0]: 0 => 1",),
    },
    "storage.audio.waveforms": {
        TUNED: (
            "encode: compression=4: 4 => 5",
            "encode: compression=4: 4 => 3",
            "encode: level = compression / 8: 8 => 9",
        ),
        PASSED_OVER: (
            "read_window: frames=-1: 1 => 2",
            "read_window: frames >= 0 and waveform.shape[1] != frames: >= => >",
            "read_window: frames >= 0 and waveform.shape[1] != frames: 0 => 1",
        ),
    },
    "storage.shards.clip_table": {
        AT_ONCE: ("module: AT_ONCE = 16: 16 => 17", "module: AT_ONCE = 16: 16 => 15"),
        PASSED_OVER: (
            "_columns: max(sidecar.firsts) + samples_per_clip if sidecar.firsts ...: 0 => -1",
            "_columns: sidecar.offsets[-1] + sidecar.sizes[-1] if sidecar.offset...: 0 => -1",
        ),
    },
    "storage.shards.reader": {
        NEVER: (
            "ShardReader.read: stop = whole if frames < 0 else start + frames: < => <=",
            "ShardReader.read: stop = whole if frames < 0 else start + frames: 0 => 1",
            "ShardReader.fetch_ahead: self._ahead is None or self._cache is None: or => and",
            "ShardReader._samples: self._ahead is not None and self._cache is not None: and => or",
        ),
        FAST_WAY: ("ShardReader.read: len(parts) == 1: 1 => 0",),
        SAME: ("ShardReader.read: parts[0]: 0 => -1",),
    },
    "storage.home.marks": {
        AT_ONCE: (
            "module: FEW_OUTPUTS = 8: 8 => 9",
            "module: FEW_OUTPUTS = 8: 8 => 7",
            "module: CHUNK_BYTES = 64 << 20: 64 => 65",
            "module: CHUNK_BYTES = 64 << 20: 64 => 63",
        ),
        PASSED_OVER: (
            "find_fault: not same_version and _is_file(home, output): and => or",
            "commit: sort_keys=True: True => False",
        ),
    },
}


def reasons(module: str) -> dict[str, str]:
    """Return why each harmless mutant of a module is harmless."""
    listed = HARMLESS.get(module, {})
    return {mutant: reason for reason, mutants in listed.items() for mutant in mutants}
