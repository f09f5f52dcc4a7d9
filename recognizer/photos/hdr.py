"""HDR photos (PQ and HLG, ITU-R BT.2100) as ordinary RGB, so that a face has the brightness and colours of a usual photo.

Light is computed in cd/m2, where diffuse white has 203 (ITU-R BT.2408). Up to 60 % of white the picture is left as it is;
brighter light is compressed below white. A picture whose white is brighter is darkened first, as far as its middle allows.
"""

from __future__ import annotations

import numpy as np

#: Transfer characteristics of ITU-T H.273 that need a conversion.
LINEAR, PQ, HLG = 8, 16, 18
_WHITE, _HLG_PEAK = 203.0, 1000.0
_KNEE = 0.6  # of white
_BRIGHT = 60.0  # median of the luminance above which a picture may be darkened
_LEVELS = 4096  # of the table from light to sRGB
_MOST_LIGHT = 20.0  # times white; brighter light looks the same
_STRIP = 256  # rows that are converted at a time
_SAMPLES = 200_000  # pixels that the brightness of the picture is measured on

_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
_TO_SRGB = {
    9: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32),  # BT.2020
    12: np.array([[1.2249, -0.2247, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0979]], np.float32),  # Display P3
}


def is_hdr(transfer: int) -> bool:
    """Whether pixels with these transfer characteristics need `to_srgb`."""
    return transfer in (LINEAR, PQ, HLG)


def to_srgb(pixels: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Convert HDR pixels to sRGB.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        Coded with `transfer`; overwritten.
    transfer, primaries : int
        As in ITU-T H.273: `LINEAR`, `PQ` or `HLG`, and for example 9 for BT.2020.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    light, table = _light(transfer), _table()
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / _SAMPLES) ** 0.5))
    sample = _displayed(light[pixels[::step, ::step]], transfer) @ _LUMINANCE
    middle, highest = (max(1.0, float(each)) for each in np.percentile(sample, (50, 99)))
    exposure = min(1.0, max(_BRIGHT / middle, _WHITE / highest))
    gamut = _TO_SRGB.get(primaries)
    for top in range(0, len(pixels), _STRIP):
        strip = _displayed(light[pixels[top : top + _STRIP]], transfer)
        if gamut is not None:
            strip = strip @ gamut.T
        strip *= exposure / (_WHITE * _MOST_LIGHT)
        np.clip(strip, 0.0, 1.0, out=strip)
        pixels[top : top + _STRIP] = table[(np.sqrt(strip) * (_LEVELS - 1) + 0.5).astype(np.uint16)]
    return pixels


def _light(transfer: int) -> np.ndarray:
    """The light of each of the 256 values: in cd/m2, for HLG relative to the scene's brightest."""
    coded = np.arange(256) / 255
    if transfer == PQ:
        root = coded ** (1 / 78.84375)
        found = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    elif transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        found = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)
    else:
        found = coded * _WHITE
    return found.astype(np.float32)


def _displayed(light: np.ndarray, transfer: int) -> np.ndarray:
    """The light that a display shows, in cd/m2: HLG describes the scene."""
    if transfer != HLG:
        return light
    luminance = np.maximum(light @ _LUMINANCE, 1e-6)
    return light * (_HLG_PEAK * luminance**0.2)[..., None]


def _table() -> np.ndarray:
    """Light, as the square root of its share of the brightest, in `_LEVELS` steps -> sRGB."""
    light = (np.arange(_LEVELS) / (_LEVELS - 1)) ** 2 * _MOST_LIGHT
    bright = _KNEE + (1 - _KNEE) * (1 - np.exp(-(light - _KNEE) / (1 - _KNEE)))
    light = np.where(light > _KNEE, bright, light)
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (srgb * 255 + 0.5).astype(np.uint8)
