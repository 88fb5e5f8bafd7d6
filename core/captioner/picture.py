"""A picture as a captioner takes it. Free of torch."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def squeezed(rgb: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Return a picture H W 3 as a captioner takes it: the whole of it, side_px side_px 3."""
    size = side_px, side_px
    return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))  # a copy can be written
