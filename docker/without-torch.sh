#!/bin/sh
# Print a lock file without torch, and without what only torch and tensorboard bring: 4 GB that the
# data stages and the command line never import. `without-torch.sh LOCK > SMALLER`.
# A requirement starts its line with its name; its hashes follow, indented, and go with it.
set -eu
awk '
  /^[A-Za-z0-9]/ { keep = !/^(torch|torchaudio|triton|tensorboard|tensorboard-data-server|cuda-[a-z0-9-]+|nvidia-[a-z0-9-]+)==/ }
  keep
' "$1"
