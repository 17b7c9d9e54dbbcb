import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from mmer_core.incremental.spans import Reach, grow, unite, whole

CPU = torch.device("cpu")

reaches = st.builds(
    Reach,
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
)


@given(length=st.integers(1, 24), layers=st.lists(reaches, min_size=1, max_size=3))
def test_a_span_holds_whatever_a_convolution_of_ones_changes(length, layers):
    span = whole(length, CPU)
    signals = torch.eye(length, dtype=torch.float64)[:, None]  # one changed coordinate each
    for reach in layers:
        assume(reach.extent(span.extent) >= 1)
        padded = F.pad(signals, (reach.before, reach.after))
        assume(padded.shape[2] >= reach.width)
        ones = torch.ones(1, 1, reach.kernel, dtype=torch.float64)
        signals = F.conv1d(padded, ones, stride=reach.stride, dilation=reach.dilation)
        span = grow(span, reach)
        assert span.extent == signals.shape[2]
    for coordinate, changed in enumerate(signals[:, 0] != 0):
        origin = int(span.origins[coordinate])
        assert 0 <= origin <= span.extent - span.size
        assert not changed[:origin].any()
        assert not changed[origin + span.size :].any()


def test_a_span_is_no_larger_than_it_must_be():
    span = grow(whole(224, CPU), Reach(kernel=3, stride=2, dilation=1, before=0, after=1))
    assert (span.extent, span.size) == (112, 2)  # an even coordinate is read by two outputs


def test_united_spans_hold_each_of_them():
    wide = grow(whole(10, CPU), Reach(kernel=5, stride=1, dilation=1, before=2, after=2))
    narrow = whole(10, CPU)
    both = unite([narrow, wide])
    assert both.size == wide.size
    assert both.origins.tolist() == wide.origins.tolist()


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_outputs_read_what_a_convolution_reads(outputs):
    reach = Reach(kernel=3, stride=2, dilation=2, before=0, after=0)
    assert reach.extent(reach.read(outputs)) == outputs
    assert reach.extent(reach.read(outputs) - 1) == outputs - 1
