"""Times in words."""


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds: `2:05`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
