"""Small image files of every kind that can be stamped, and a stamp for them."""

import hashlib
import struct
import zlib
from io import BytesIO

from PIL import Image, PngImagePlugin

from fairbrush.provenance.stamp import Stamp, StampedShare

PROMPT = "a harbour at dawn\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 7, Model: v1-5"
FOREIGN = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    b'<r:Description r:about="uuid:1&amp;&quot;2" xmlns:dc="http://purl.org/dc/elements/1.1/">'
    b'<dc:title><r:Alt><r:li xml:lang="x-default">Ein Hafen &lt;b&gt;</r:li></r:Alt></dc:title>'
    b"</r:Description>\n</r:RDF></x:xmpmeta>\n    \n<?xpacket end='w'?>"
)


def picture(mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((23, 17)).convert(mode)


def saved(format_: str, *, mode: str = "RGB", **options: object) -> bytes:
    stream = BytesIO()
    picture(mode).save(stream, format_, **options)
    return stream.getvalue()


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x0131] = "any"
    found.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + PROMPT.encode()
    return found


def png(*, xmp: bytes | None = None) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", PROMPT)
    if xmp is not None:
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return saved("PNG", pnginfo=info, dpi=(72, 72))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(content: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one chunk more, after its first."""
    return content[:33] + chunk(name, body) + content[33:]


def every_file() -> dict[str, bytes]:
    return {
        "png": png(),
        "png with XMP": png(xmp=FOREIGN),
        "png and what follows": png() + b"trailing",
        "jpeg": saved("JPEG", exif=exif()),
        "jpeg with XMP": saved("JPEG", exif=exif(), xmp=FOREIGN, progressive=True),
        "jpeg and what follows": saved("JPEG") + b"\xff\xd8 a phone's second picture",
        "webp": saved("WEBP"),
        "webp without loss": saved("WEBP", lossless=True),
        "webp with alpha": saved("WEBP", lossless=True, mode="RGBA"),
        "webp with EXIF": saved("WEBP", exif=exif()),
        "webp with XMP": saved("WEBP", exif=exif(), xmp=FOREIGN),
    }


def stamp_for(content: bytes, **changes: object) -> Stamp:
    facts: dict[str, object] = {
        "image_sha256": hashlib.sha256(content).hexdigest(),
        "attribution_id": "a" * 64,
        "record_digest": "b" * 64,
        "model": "sd-1.5",
        "model_share_e12": 500_000_000_000,
        "unattributed_e12": 187_500_000_000,
        "artists": (StampedShare("1" * 32, 200_000_000_000), StampedShare("2" * 32, 112_500_000_000)),
        "value_function": "blend",
        "encoder_id": 'mini <&> "1"',
        "index_manifest_digest": "c" * 64,
        "calibration_id": None,
        "fairbrush": "0.1.0",
    }
    return Stamp(**{**facts, **changes})  # type: ignore[arg-type]
