"""What reports are put together from: pages, plots, and on what machine a figure was measured."""
