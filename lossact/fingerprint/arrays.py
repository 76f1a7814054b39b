"""Arrays and tensors by content."""

import hashlib
import sys
from typing import Any


def array_content(value: Any) -> dict[str, Any] | None:
    """Return the kind, shape and digest of a numpy array or scalar or a torch tensor; None for anything else.

    numpy and torch are not imported: where they were not, no value is theirs.
    """
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)) and not value.dtype.hasobject:
        kind = "array" if isinstance(value, numpy.ndarray) else "scalar"
        return _described(kind, value.dtype, value.shape, numpy.ascontiguousarray(value).tobytes()) | _mask(value)
    if torch is None or not isinstance(value, torch.Tensor):
        return None
    with torch.no_grad():
        tensor = value.detach()
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        tensor = tensor.cpu().resolve_conj().resolve_neg().contiguous()
        content = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    described = _described("tensor", value.dtype, tuple(value.shape), content)
    return described | {"layout": str(value.layout), "requires_grad": value.requires_grad}


def _described(kind: str, dtype: Any, shape: tuple[int, ...], content: bytes) -> dict[str, Any]:
    return {"kind": kind, "dtype": str(dtype), "shape": list(shape), "sha256": hashlib.sha256(content).hexdigest()}


def _mask(value: Any) -> dict[str, Any]:
    mask = getattr(value, "mask", None)  # of a masked array
    return {} if mask is None or not hasattr(mask, "tobytes") else {"mask": hashlib.sha256(mask.tobytes()).hexdigest()}
