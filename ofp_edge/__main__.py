"""`python -m ofp_edge` is `ofp-edge`."""

from ofp_edge.cli.main import main

main()
