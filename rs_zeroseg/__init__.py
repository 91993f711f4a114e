"""RS-ZeroSeg: open-vocabulary semantic segmentation of remote-sensing imagery."""
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .data.pocket import make_scene
    from .evidence.evaluate import evaluate
    from .model.checkpoint import load
    from .training.finetune import finetune
    from .use.segment import segment

__all__ = ["evaluate", "finetune", "load", "make_scene", "segment"]
_WHERE = {
    "evaluate": "evidence.evaluate",
    "finetune": "training.finetune",
    "load": "model.checkpoint",
    "make_scene": "data.pocket",
    "segment": "use.segment",
}


def __getattr__(name: str):
    "A name of the public face, imported when first asked for: `import rs_zeroseg` stays fast."
    if name not in _WHERE:
        raise AttributeError(f"module 'rs_zeroseg' has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
