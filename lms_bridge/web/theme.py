"""The institution's accent colour, made readable: contrast-checked for light and dark pages (WCAG 1.4.3)."""

from __future__ import annotations

from dataclasses import dataclass

LIGHT_GROUND = "#ffffff"
DARK_GROUND = "#171a21"
ENOUGH = 4.5


@dataclass(frozen=True, slots=True)
class Theme:
    """Accent and the colour of text on it, for both schemes, as `#rrggbb`."""

    accent: str
    on_accent: str
    accent_dark: str
    on_accent_dark: str


def theme(accent: str) -> Theme:
    """The nearest usable colours to what settings ask for."""
    light = _until_readable(accent, LIGHT_GROUND, towards="#000000")
    dark = _until_readable(accent, DARK_GROUND, towards="#ffffff")
    return Theme(light, _text_on(light), dark, _text_on(dark))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio, 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _until_readable(colour: str, ground: str, *, towards: str) -> str:
    for step in range(21):
        mixed = _mix(colour, towards, step / 20)
        if contrast(mixed, ground) >= ENOUGH:
            return mixed
    return towards


def _text_on(colour: str) -> str:
    return max(("#ffffff", "#000000"), key=lambda text: contrast(text, colour))


def _mix(one: str, other: str, share: float) -> str:
    return "#" + "".join(
        f"{round(a + (b - a) * share):02x}" for a, b in zip(_channels(one), _channels(other), strict=True)
    )


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in (value / 255 for value in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
