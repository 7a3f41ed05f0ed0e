"""The parts of reports: pages, plots, and the machine on which a figure was measured."""
