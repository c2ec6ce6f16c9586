"""Losses of separation, as pure functions of tensors: SNR and MixIT."""
