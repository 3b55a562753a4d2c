"""Make a CUDA-built torchvision importable beside a CPU-built torch.

The package index serves torchvision built against CUDA torch only. Beside a CPU torch its compiled
operators do not load, and ``import torchvision`` (hence open_clip, transformers, diffusers) dies with
``operator torchvision::nms does not exist``. We need its transforms, not those operators: declaring the
two names it registers fakes for is enough. Calling them still raises. Where torchvision is whole this is
a no-op.
"""

import importlib
import sys
from typing import Any

# The torch.library handle must stay referenced: dropping it takes the declarations away again.
_declared: list[Any] = []


def make_torchvision_importable() -> None:
    """Import torchvision, declaring its missing operators first where its own build cannot.

    Call before importing open_clip, transformers or diffusers. Errors: whatever ``import torchvision``
    raises for any other reason.
    """
    try:
        importlib.import_module("torchvision.extension")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import torch

        for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
            del sys.modules[name]
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        importlib.import_module("torchvision")
