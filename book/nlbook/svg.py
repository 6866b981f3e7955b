"""Figures in fewer bytes: matplotlib writes six decimals, every style anew, and small palettes as full colours."""

import base64
import io
import re

import numpy as np
from PIL import Image

NOTES = re.compile(r"(?ms)<\?xml.*?\?>\s*|<!DOCTYPE.*?>\s*|<metadata>.*?</metadata>\s*|<!--.*?-->\s*|^ +|\n(?= *<)")
PLACES = re.compile(r'(?<= [xy]=")[\d.-]+(?=")|(?<=translate\()[^)]*(?=\))')
STEP = 100  # points are kept to a hundredth, of 72 an inch


def compact(svg: str) -> str:
    """The same figure: no notes, short names, each style once, relative paths, palettes of colours."""
    text = re.sub(r'(?<=<g) id="[^"]*"| transform="rotate\(-0 [^"]*"', "", NOTES.sub("", svg))
    for name, style in re.findall(r'<path id="(\w+)" d="[^"]*"( style="[^"]*")', text):
        text = re.sub(rf'(<use xlink:href="#{name}"[^>]*?){re.escape(style)}', r"\1", text)
    for number, style in enumerate(dict.fromkeys(re.findall(r' style="[^"]*"', text))):
        text = text.replace(style, f' class="s{number}"').replace("</style>", f".s{number}{{{style[8:-1]}}}</style>", 1)
    names = {name: f"i{number}" for number, name in enumerate(dict.fromkeys(re.findall(r'(?<= id=")\w+', text)))}
    text = re.sub(r'(?<= id=")\w+|(?<=href="#)\w+|(?<=url\(#)\w+', lambda one: names.get(one[0], one[0]), text)
    text = re.sub(r'(?<= d=")[^"]*', lambda one: relative(one[0]), text)
    text = PLACES.sub(lambda one: " ".join(_short(round(float(x) * STEP)) for x in one[0].split()), text)
    return re.sub(r"(?<=image/png;base64,)[^\"]*", lambda one: _with_palette(one[0]), text)


def relative(path: str) -> str:
    """A path of absolute commands M, L, Q, C and z in relative ones; errors do not add up."""
    found, before, start, x, y = list[str](), "", (0, 0), 0, 0
    for command, given in re.findall(r"([MLQCz])([^MLQCz]*)", path):
        points = [round(float(value) * STEP) for value in given.split()]
        steps = [value - (x, y)[place % 2] for place, value in enumerate(points)]
        name = command.lower()
        repeated = name == before or (name, before) == ("l", "m")  # what follows a move is a line
        found += ["" if repeated else name, *(f"{' ' if step >= 0 else ''}{_short(step)}" for step in steps)]
        before = name
        x, y = points[-2:] if points else start
        start = (x, y) if command == "M" else start
    return "".join(found)


def _short(hundredths: int) -> str:
    """A number of hundredths in as few digits as can be."""
    sign, (whole, rest) = "-" * (hundredths < 0), divmod(abs(hundredths), STEP)
    return sign + (f"{whole or ''}.{rest:02d}".rstrip("0") if rest else str(whole))


def _with_palette(code: str) -> str:
    """A PNG in base64 with a palette where it has at most 256 colours; no pixel changes."""
    image, file = Image.open(io.BytesIO(base64.b64decode(code))).convert("RGBA"), io.BytesIO()
    colours, index = np.unique(np.array(image).view(np.uint32), return_inverse=True)
    if len(colours) <= 256:
        image = Image.fromarray(index.reshape(image.size[::-1]).astype(np.uint8), "P")
        image.putpalette(colours.tobytes(), "RGBA")
    elif image.getchannel("A").getextrema() == (255, 255):
        image = image.convert("RGB")
    image.save(file, "png", optimize=True)
    return min(base64.b64encode(file.getvalue()).decode(), "".join(code.split()), key=len)
