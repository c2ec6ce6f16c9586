"""What a page shows besides text: charts, the drawing of the stages, spectrograms and sound."""
