"Small GeoTIFFs of random colours, for several test files."
import numpy as np
import rasterio

GEO = dict(crs="EPSG:2154", transform=rasterio.Affine(.2, 0, 650_000, 0, -.2, 6_860_000))


def write(path, array, **profile):
    "A (C,H,W) array as a GeoTIFF; its path."
    C, H, W = array.shape
    profile = dict(driver="GTiff", count=C, height=H, width=W, dtype=array.dtype) | GEO | profile
    with rasterio.open(path, "w", **profile) as dst:
        dst.write(array)
    return path


def blobs(height=301, width=420, seed=0):
    "A (3,H,W) uint8 patchwork of coarse random colours, none of them 0."
    draw = np.random.default_rng(seed)
    coarse = draw.integers(1, 256, (3, height//10 + 1, width//10 + 1), dtype=np.uint8)
    return coarse.repeat(10, 1).repeat(10, 2)[:, :height, :width]
