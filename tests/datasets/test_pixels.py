import numpy as np
import pytest
from PIL import Image
from support.awkward_images import bomb

from mmer_core.datasets.pixels import UnreadableImageError, read_rgb


def test_sixteen_bit_gray_keeps_its_range(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(np.asarray(read_rgb(tmp_path / "deep.png"))[0, :, 0], [0, 1, 128, 255])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I", "F"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    source = Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode)
    source.save(tmp_path / "a.tiff")
    image = read_rgb(tmp_path / "a.tiff")
    assert (image.mode, image.size) == ("RGB", (5, 4))
    assert np.asarray(image).min() >= 254


def test_exif_orientation_is_applied(tmp_path):
    upright = Image.new("RGB", (30, 10), "white")
    upright.paste("black", (0, 0, 15, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_rgb(tmp_path / "a.png")), np.asarray(upright))


def test_a_bomb_is_refused_for_its_size(tmp_path):
    (tmp_path / "a.png").write_bytes(bomb())
    with pytest.raises(UnreadableImageError, match="3600000000 pixels"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff\xe0 not a photo", bomb()])
def test_what_is_no_picture_is_refused(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError):
        read_rgb(tmp_path / "a.jpg")


def test_missing_and_truncated(tmp_path):
    with pytest.raises(UnreadableImageError, match="does not exist"):
        read_rgb(tmp_path / "a.jpg")
    path = tmp_path / "b.jpg"
    Image.effect_noise((80, 80), 60).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(UnreadableImageError, match="truncated"):
        read_rgb(path)
