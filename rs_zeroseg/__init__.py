"""RS-ZeroSeg: open-vocabulary semantic segmentation of remote-sensing imagery."""
__version__ = "0.1.0"


def __getattr__(name: str):
    "`rs_zeroseg.load`, imported when first asked for: `import rs_zeroseg` stays fast."
    if name == "load":
        from .checkpoint import load
        return load
    raise AttributeError(f"module 'rs_zeroseg' has no attribute {name!r}")
