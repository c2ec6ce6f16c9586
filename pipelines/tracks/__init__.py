"""What there is to pack, before any of it is heard: tracks of an archive or folder, the plan."""
