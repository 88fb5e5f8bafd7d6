"""A picture as a sequence of tokens: one linear map of each patch."""

from torch import Tensor, nn

from core.errors import InputError


class PatchEmbedding(nn.Module):
    """Cut a picture into patches and map each to a vector (Dosovitskiy et al. 2021, equation 1)."""

    def __init__(self, patch_size: tuple[int, int], dim: int, channels: int = 3) -> None:
        super().__init__()
        self.patch_size = patch_size
        # A convolution whose stride is its kernel is the same linear map for every patch.
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch_size, stride=patch_size)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return how many patches (rows, columns) a picture of this size has.

        Raises:
            InputError: It is not a whole number of patches.
        """
        rows, columns = self.patch_size
        if height < rows or width < columns or height % rows or width % columns:
            raise InputError(
                f"{width} x {height} pixels are not a whole number of patches of {columns} x {rows}.",
                f"Resize the picture to multiples of {columns} and {rows}.",
            )
        return height // rows, width // columns

    def forward(self, pixels: Tensor) -> Tensor:
        """Return patch tokens B N D, row by row, of pixels B C H W.

        Raises:
            InputError: The picture is not a whole number of patches.
        """
        self.grid(pixels.shape[2], pixels.shape[3])
        tokens: Tensor = self.proj(pixels).flatten(2).transpose(1, 2)  # B N D
        return tokens
