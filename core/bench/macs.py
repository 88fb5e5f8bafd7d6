"""How many multiplications with addition one pass takes: MACs.

Counted by `torch.utils.flop_counter`, which sees every matrix product, convolution and attention that really
runs, and halved, as it counts multiplication and addition each. The fused attention of the CPU is not among
the operations that it knows, so its count is given here; without that, attention would be left out.
"""

from collections.abc import Callable, Sequence
from typing import Any


def count_macs(call: Callable[[], object]) -> int:
    """Return the MACs of everything that PyTorch computes in `call`, on whatever device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={fused: _attention_flops}) as counter:
        call()
    return int(counter.get_total_flops()) // 2


def _attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, out_shape: Any = None, **__: Any
) -> int:
    """Return two per MAC of query times key, and of weights times value; shapes are B H N D."""
    batch, heads, queries, dim = query
    keys, out = key[2], value[3]
    return 2 * batch * heads * queries * keys * (dim + out)
