"""What is done with figures: their stored form, where they lie, and the page."""
