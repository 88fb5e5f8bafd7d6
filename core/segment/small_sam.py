"""A small Segment Anything Model out of segment-anything's own classes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of RGB values 0-255, as `segment_anything.build_sam` sets them."""


def build_small_sam(
    image_size: int = 256,
    patch_size: int = 16,
    dim: int = 128,
    depth: int = 5,
    heads: int = 4,
    window: int = 8,
    global_blocks: tuple[int, ...] = (1, 3, 4),
    prompt_dim: int = 128,
    decoder_heads: int = 4,
    decoder_mlp_dim: int = 384,
) -> "Sam":
    """Return an untrained model of the architecture of `segment_anything.build_sam`, in small.

    Args:
        image_size: Side of the square picture that it takes, in pixels; a multiple of `patch_size`.
        patch_size: Side of a patch, in pixels. Masks come out at 4 x 4 values a patch.
        dim, depth, heads: Of the picture encoder.
        window: Side of the attention windows, in patches.
        global_blocks: The encoder's blocks that attend to the whole picture instead.
        prompt_dim: Width of picture embedding, prompt encoder and mask decoder.
        decoder_heads, decoder_mlp_dim: Of the mask decoder's two-way transformer.
    """
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    from torch import nn

    side = image_size // patch_size
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=image_size,
            patch_size=patch_size,
            embed_dim=dim,
            depth=depth,
            num_heads=heads,
            out_chans=prompt_dim,
            norm_layer=nn.LayerNorm,
            use_rel_pos=True,
            window_size=window,
            global_attn_indexes=tuple(global_blocks),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=prompt_dim,
            image_embedding_size=(side, side),
            input_image_size=(image_size, image_size),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=prompt_dim, mlp_dim=decoder_mlp_dim, num_heads=decoder_heads
            ),
            transformer_dim=prompt_dim,
            iou_head_depth=3,
            iou_head_hidden_dim=prompt_dim,
        ),
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=list(PIXEL_STD),
    )
