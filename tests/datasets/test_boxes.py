import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmer_core.datasets.boxes import clamp, clamp_mat2py

corner = st.integers(-15, 30)
boxes = st.tuples(corner, corner, corner, corner)
sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))


@given(boxes, sizes)
def test_clamp_keeps_exactly_the_pixels_inside(box, size):
    x1, y1, x2, y2 = box
    width, height = size
    inside = {(x, y) for x in range(x1, x2) for y in range(y1, y2) if 0 <= x < width and 0 <= y < height}
    result = clamp(box, size)
    got = (
        set()
        if result is None
        else {(x, y) for x in range(result[0], result[2]) for y in range(result[1], result[3])}
    )
    assert got == inside


@given(boxes, sizes, sizes)
def test_mat2py_equals_clamp_then_numpy_slice(box, annotated, decoded):
    pixels = np.arange(decoded[0] * decoded[1]).reshape(decoded[1], decoded[0])
    x1, x2 = (min(annotated[0], max(0, x)) for x in (box[0], box[2]))
    y1, y2 = (min(annotated[1], max(0, y)) for y in (box[1], box[3]))
    expected = pixels[y1:y2, x1:x2]
    written, cut = clamp_mat2py(box, annotated, decoded)
    assert written == (x1, y1, x2, y2)
    if cut is None:
        assert expected.size == 0
    else:
        np.testing.assert_array_equal(pixels[cut[1] : cut[3], cut[0] : cut[2]], expected)
        assert cut[0] >= 0
        assert cut[2] <= decoded[0]
