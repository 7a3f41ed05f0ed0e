"""The kinds of observation fields, and the one table of them."""

from ofp_edge.fields.field import KINDS as KINDS
from ofp_edge.fields.field import ObservationField as ObservationField
from ofp_edge.fields.points import Points as Points
from ofp_edge.fields.rgb import Rgb as Rgb
from ofp_edge.fields.state import State as State
from ofp_edge.fields.text import Text as Text

KINDS.update(state=State, points=Points, rgb=Rgb, text=Text)
