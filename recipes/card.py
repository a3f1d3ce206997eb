"Draw nbs/images/card.png, the picture that a link to the site shows elsewhere: `python recipes/card.py`"

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from foodvision.drawing import SAMPLE_CLASSES, draw_dish

WIDTH, HEIGHT, DISH = 1200, 630, 240
WORDS = [("foodvision", 88), ("Image transfer learning", 40), ("told as a story that runs", 40)]


def card() -> Image.Image:
    "Five drawn dishes above the project's name"
    picture = Image.new("RGB", (WIDTH, HEIGHT), "#17508f")
    for index, name in enumerate(SAMPLE_CLASSES[:5]):
        picture.paste(draw_dish(name, 3, (DISH, DISH)), (index * DISH, 0))
    draw, height = ImageDraw.Draw(picture), DISH + 62
    for text, size in WORDS:
        draw.text(
            (WIDTH / 2, height), text, fill="white", anchor="mt", font=ImageFont.load_default(size)
        )
        height += size + 34
    return picture


if __name__ == "__main__":
    card().quantize(256).save(
        Path(__file__).parent.parent / "nbs" / "images" / "card.png", optimize=True
    )
