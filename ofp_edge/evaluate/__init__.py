"""Closed-loop and open-loop evaluation, and the statistics that go with it."""
