"""Demo corpora: music composed from a seed, played on sampled instruments, packed as archives."""
