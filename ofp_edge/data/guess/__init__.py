"""Guess a mapping for a source without one, and say for every key what it was taken for and why.

words.py          what the tokens of a name say
evidence.py       what numbers say, of at most eight episodes
sections.py       the columns of an action as the layout divides them, and the switches
verdict.py        absolute, delta or velocity, and where evidence disagrees
columns.py        the groups of columns that become a field each
actions.py        the fields of the action; observations.py: those that a policy sees
ours.py           what an ofp-edge dataset states itself
guess.py          all of it together; odd.py: what speaks against a mapping that was written
"""

from ofp_edge.data.guess.guess import Guess as Guess
from ofp_edge.data.guess.guess import guess as guess
from ofp_edge.data.guess.guess import look as look
from ofp_edge.data.guess.guess import taken_by as taken_by
from ofp_edge.data.guess.odd import odd_actions as odd_actions
