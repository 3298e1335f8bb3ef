"""Arrays of a checkpoint against those that they are to become."""

from typing import Any, Mapping

import numpy as np
import paddle


def misfit(arrays: Mapping[str, Any], tensors: Mapping[str, paddle.Tensor]) -> str:
    """A text about arrays that cannot take the place of the tensors; "" if all can."""
    odd = sorted({*map(str, arrays)} ^ {*tensors})
    if not odd:
        shapes = {key: list(getattr(array, "shape", ())) for key, array in arrays.items()}
        odd = [key for key, tensor in tensors.items() if shapes[key] != list(tensor.shape)]
    if odd:
        return f"{len(odd)} tensors differ in name or shape, for instance {', '.join(odd[:3])}"
    for key, array in arrays.items():
        kinds = "f" if "float" in str(tensors[key].dtype) else "iub"
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            found = getattr(array, "dtype", type(array).__name__)
            return f"{key} holds {found} instead of {str(tensors[key].dtype).split('.')[-1]}"
        if not np.isfinite(array).all():
            return f"{key} holds NaN or infinite numbers"
    return ""
