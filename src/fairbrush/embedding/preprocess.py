"""From a decoded image to what an image tower reads.

Enters: uint8 (height, width, 3) RGB. Leaves: float32 (3, size, size), normalised. The one rule: the same
numbers as open_clip's own inference transform (a test compares them), without importing torch, so that
every backend of an encoder sees the same pixels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fairbrush.errors import EncoderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
INTERPOLATIONS = ("bicubic", "bilinear")
RESIZE_MODES = ("shortest", "longest", "squash")


@dataclass(frozen=True)
class Preprocess:
    """open_clip's ``preprocess_cfg``: side in pixels, per-channel mean and std of values in [0, 1]."""

    height: int
    width: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def from_open_clip(cls, config: dict[str, Any]) -> Preprocess:
        """Read a ``preprocess_cfg``; what is absent or null is open_clip's default. Raises EncoderError."""
        given = {name: value for name, value in config.items() if value is not None}
        try:
            height, width = _pair(given.get("size", 224))
            made = cls(
                height=height,
                width=width,
                mean=_triple(given.get("mean", CLIP_MEAN)),
                std=_triple(given.get("std", CLIP_STD)),
                interpolation=str(given.get("interpolation", "bicubic")),
                resize_mode=str(given.get("resize_mode", "shortest")),
                fill_color=int(given.get("fill_color", 0)),
            )
        except (TypeError, ValueError) as error:
            raise EncoderError(f"The preprocessing {config} cannot be read: {error}.") from error
        if made.interpolation not in INTERPOLATIONS or made.resize_mode not in RESIZE_MODES:
            raise EncoderError(
                f"The preprocessing {made.interpolation}, {made.resize_mode} is not one fairbrush knows.",
                next_step=f"Known: {', '.join(INTERPOLATIONS)}; {', '.join(RESIZE_MODES)}.",
            )
        return made

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (3, height, width) of one image."""
        import numpy as np
        from PIL import Image

        square = self._fit(Image.fromarray(pixels))
        values: NDArray[np.float32] = np.array(square, np.float32)
        values /= 255
        values -= np.asarray(self.mean, np.float32)
        values /= np.asarray(self.std, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    def _fit(self, image: Image.Image) -> Image.Image:
        from PIL import Image

        how = Image.Resampling.BILINEAR if self.interpolation == "bilinear" else Image.Resampling.BICUBIC
        if self.resize_mode == "squash":
            return image.resize((self.width, self.height), how)
        ratios = (image.height / self.height, image.width / self.width)
        if self.resize_mode == "longest":
            ratio = max(ratios)
            size = (max(1, round(image.width / ratio)), max(1, round(image.height / ratio)))
            return self._crop_or_pad(image.resize(size, how))
        # torchvision's Resize truncates the longer side. For oblong towers open_clip takes ResizeKeepRatio,
        # which rounds it, and leaves its interpolation at bicubic whatever the configuration says.
        if self.height == self.width:
            if image.width <= image.height:
                size = (self.width, int(self.width * image.height / image.width))
            else:
                size = (int(self.height * image.width / image.height), self.height)
        else:
            size = (round(image.width / min(ratios)), round(image.height / min(ratios)))
            how = Image.Resampling.BICUBIC
        return self._crop_or_pad(image.resize(size, how))

    def _crop_or_pad(self, image: Image.Image) -> Image.Image:
        from PIL import Image

        if image.width < self.width or image.height < self.height:
            padded_size = (max(image.width, self.width), max(image.height, self.height))
            padded = Image.new("RGB", padded_size, (self.fill_color,) * 3)
            padded.paste(image, ((padded.width - image.width) // 2, (padded.height - image.height) // 2))
            image = padded
        left = round((image.width - self.width) / 2)
        top = round((image.height - self.height) / 2)
        return image.crop((left, top, left + self.width, top + self.height))


def _pair(size: Any) -> tuple[int, int]:
    """(height, width) of one number or two."""
    height, width = (size, size) if isinstance(size, int | float) else size
    return int(height), int(width)


def _triple(values: Any) -> tuple[float, float, float]:
    """One number for all three channels, or three."""
    red, green, blue = (values,) * 3 if isinstance(values, int | float) else values
    return float(red), float(green), float(blue)
