"""A dataset as one HTML page, for whoever is to train on it.

document.py   the page: verdict, what is odd, what to write, what each key is taken for
strips.py     images of each camera at their times
curves.py     numbers over time, the action over the state that it follows
ranges.py     where the numbers of each dimension lie
names.py      fields, their dimensions and the episodes that are shown
"""

from ofp_edge.data.page.document import render as render
