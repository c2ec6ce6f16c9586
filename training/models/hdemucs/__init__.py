"""Hybrid Demucs: a waveform and a spectrogram U-Net that meet in the middle."""
