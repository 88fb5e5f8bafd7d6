"""One word in capitals, with a halo that keeps it readable on anything."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_WORD_LIST = """
    ACORN ALPINE AMBER ANCHOR APPLE APRIL ARENA ATLAS AUTUMN AZURE BADGE BAMBOO BANJO BASIL BEACH BEACON
    BERRY BIRCH BISON BLOOM BOAT BONE BONNET BREAD BREEZE BRICK BRIDGE BROOM BRUSH BUTTER CABIN CACTUS
    CAMEL CANAL CANDLE CANOE CANYON CARGO CARPET CASTLE CEDAR CELLO CHALK CHEESE CHERRY CIDER CLOCK
    CLOUD CLOVER COAST COBALT COCOA COMET COPPER CORAL COTTON CRANE CREEK CROWN DAISY DANCE DESERT DOCK
    DOVE DRUM DUNE EAGLE EARTH EMBER FABLE FALCON FEAST FENCE FERN FERRY FIELD FINCH FLAME FLINT FLUTE
    FOREST FOSSIL FROST GALAXY GARDEN GARLIC GECKO GHOST GIANT GINGER GLOBE GOOSE GRAIN GRAPE GRAVEL
    GUITAR HAMMER HARBOR HAVEN HAZEL HERON HILL HONEY HOTEL ISLAND IVORY JACKET JASMIN JELLY JEWEL
    JUNGLE KAYAK KETTLE KIOSK KITE KOALA LADDER LAGOON LAKE LAMP LAUREL LEMON LILAC LIME LINEN LION
    LOTUS LUNAR MAGNET MANGO MAPLE MARBLE MARKET MEADOW MELON METEOR MINT MIRROR MOON MOSS MOUSE MUSEUM
    NEBULA NECTAR NEST NIGHT NORTH NUTMEG OASIS OCEAN OLIVE ONION OPAL ORBIT ORCHID OTTER OYSTER PALM
    PANDA PAPER PARROT PEACH PEARL PEBBLE PENCIL PEPPER PIANO PILOT PINE PLANET PLUM POCKET POLAR POND
    POPPY PRISM PUFFIN QUAIL QUARTZ QUEEN QUILT RABBIT RADIO RAIN RAVEN REEF RIVER ROBIN ROCKET ROSE
    RUBY SADDLE SAIL SALMON SAND SATIN SHELL SHIP SILK SILVER SNOW SOLAR SPARK SPICE SPRING SQUASH STONE
    STORM SUGAR SUMMER SUNSET SWAN TANGO TEMPLE THYME TIGER TIMBER TOAST TOPAZ TRAIN TULIP TUNNEL TURTLE
    VALLEY VELVET VIOLET VIOLIN WAGON WALNUT WATER WHALE WHEAT WILLOW WINDOW WINTER WOLF WOOD ZEBRA
    ZEPHYR
"""

WORDS = tuple(_WORD_LIST.split())
"""The words that scenes show: everyday nouns of our own choosing, four to six letters."""


@dataclass(frozen=True, eq=False, slots=True)
class WordLayer:
    """A drawn word. Both layers are H W, 0-255, and share one frame."""

    word: str
    ink: NDArray[np.uint8]
    halo: NDArray[np.uint8]
    """Ink and the rim around it: what the word hides."""


@lru_cache(maxsize=128)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, so it cannot draw text of a given size.")
    return font


def draw_word(word: str, size_px: int) -> WordLayer:
    """Draw `word` in Pillow's built-in font, `size_px` pixels to the em."""
    font, rim = _font(size_px), max(1, size_px // 10)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(word, stroke_width=rim))
    layers = []
    for stroke in (0, rim):
        image = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(image).text((-left, -top), word, fill=255, font=font, stroke_width=stroke)
        layers.append(np.asarray(image))
    return WordLayer(word, *layers)
