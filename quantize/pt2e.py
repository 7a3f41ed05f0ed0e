"""Import torchao's PT2E without its remarks on GPU libraries that this machine does not need."""

from __future__ import annotations

import logging

from ofp_edge.quiet import captured_stderr

_level = logging.root.manager.disable
logging.disable(logging.WARNING)
try:
    with captured_stderr():
        from torchao.quantization.pt2e import PerChannelMinMaxObserver
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import (
            FixedQParamsQuantizationSpec,
            QuantizationAnnotation,
            QuantizationSpec,
            Quantizer,
        )
finally:
    logging.disable(_level)

__all__ = [
    "FixedQParamsQuantizationSpec",
    "PerChannelMinMaxObserver",
    "QuantizationAnnotation",
    "QuantizationSpec",
    "Quantizer",
    "convert_pt2e",
    "prepare_pt2e",
]
