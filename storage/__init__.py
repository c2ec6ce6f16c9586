"""What is stored: paths, records, marks, manifests, audio files and shards.

The ground floor of the house. It knows files and nothing else: no Prefect, no torch, no network.
"""
