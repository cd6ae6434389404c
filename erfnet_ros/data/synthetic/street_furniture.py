"""Signs, signals, posts and fences."""

from __future__ import annotations

import cv2
import numpy as np

from erfnet_ros.data.synthetic.texture import Texture, colors, cut_out, noise, tint

_INKS = colors("b01e22 1c3c82 1e603c e0ded6 d4b432 2c2c30 785a46")


def post(random: np.random.Generator) -> Texture:
    """Paint the skin of a round post, lit from one side; gray, green, black or wooden."""
    color = random.choice(np.array([(120, 122, 122), (74, 84, 76), (44, 44, 46), (104, 86, 66), (168, 170, 168)]))
    round_light = np.sin(np.linspace(0.5, 2.6, 16)).astype(np.float32)
    relief = np.repeat(round_light[None] - 1, 128, axis=0) + 0.06 * noise(random, 128, 16, 16, octaves=3)
    return Texture(tint((int(color[0]), int(color[1]), int(color[2])), relief.astype(np.float32)))


def traffic_sign(random: np.random.Generator) -> Texture:
    """Paint a round, triangular or square board, or a direction board; 0.6 m to 1.6 m wide."""
    kind = int(random.integers(0, 4))
    size = 96
    rgb, alpha = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.uint8)
    ink, field = _INKS[random.integers(0, 3)], (224, 222, 214)
    middle = (size // 2, size // 2)
    if kind == 0:
        cv2.circle(alpha, middle, 46, 255, -1, cv2.LINE_AA)
        rgb[:] = ink
        cv2.circle(rgb, middle, 34, field if random.random() < 0.7 else ink, -1, cv2.LINE_AA)
    elif kind == 1:
        triangle = np.array([(48, 4), (92, 88), (4, 88)], np.int32)
        cv2.fillConvexPoly(alpha, triangle, 255, cv2.LINE_AA)
        rgb[:] = _INKS[0]
        cv2.fillConvexPoly(rgb, np.array([(48, 26), (76, 79), (20, 79)], np.int32), field, cv2.LINE_AA)
    else:
        alpha[4:92, 3:93] = 255
        rgb[:] = _INKS[random.integers(len(_INKS))]
        cv2.rectangle(rgb, (7, 8), (88, 87), field, 2)
    for _ in range(4):
        x, y = random.integers(30, 60, 2)
        right = int(x) + int(random.integers(3, 14))
        cv2.rectangle(rgb, (int(x), int(y)), (right, int(y) + 5), _INKS[random.integers(3, 6)], -1)
    width = float(random.uniform(0.6, 0.85)) if kind < 2 else float(random.uniform(0.6, 1.6))
    return cut_out(rgb, alpha, (width, width if kind < 3 else width * 0.6))


def traffic_light(random: np.random.Generator) -> Texture:
    """Paint a signal head, 0.42 m x 1.1 m, one lamp lit."""
    rgb = np.full((120, 46, 3), (30, 32, 32), np.uint8)
    lit = int(random.integers(0, 3))
    for lamp, color in enumerate(((240, 50, 40), (240, 180, 40), (60, 240, 150))):
        shown = color if lamp == lit else (color[0] // 5, color[1] // 5, color[2] // 5)
        cv2.circle(rgb, (23, 22 + 38 * lamp), 14, shown, -1, cv2.LINE_AA)
    return Texture(rgb, meters=(0.42, 1.1))


def shop_sign(random: np.random.Generator) -> Texture:
    """Paint a hanging or standing advertisement, portrait, with lines of lettering."""
    paint = np.array(_INKS[random.integers(len(_INKS))])
    rgb = np.tile(paint, (96, 64, 1)).astype(np.uint8)
    ink = (235, 235, 230) if paint.sum() < 400 else (34, 34, 40)
    for y in range(14, 84, int(random.integers(12, 20))):
        for x in range(8, 52, 8):
            cv2.rectangle(rgb, (x, y), (x + int(random.integers(2, 7)), y + 6), ink, -1)
    return Texture(rgb, meters=(float(random.uniform(0.6, 1.1)), float(random.uniform(0.8, 1.8))))


def railing(random: np.random.Generator) -> Texture:
    """Paint iron railings, 8 m x 1.1 m: what shows between the bars bears the fence's label too."""
    color = random.choice(np.array([(28, 28, 30), (40, 52, 44), (150, 150, 148), (92, 94, 96)]))
    rgb, alpha = np.tile(color, (96, 704, 1)).astype(np.uint8), np.zeros((96, 704), np.uint8)
    gap = int(random.integers(9, 15))
    for x in range(4, 704, gap):
        cv2.line(alpha, (x, 4), (x, 95), 255, 3)
    for y in (10, 86):
        cv2.line(alpha, (0, y), (703, y), 255, 5)
    for x in (0, 176, 352, 528, 703):
        cv2.line(alpha, (x, 0), (x, 95), 255, 8)
    cover = np.zeros_like(alpha)
    cover[6:] = 255
    return Texture(rgb, alpha, cover, (8.0, 1.1))


def boards(random: np.random.Generator) -> Texture:
    """Paint a fence of wooden boards, 8 m x 1.7 m."""
    color = random.choice(np.array([(118, 92, 64), (84, 70, 56), (140, 128, 108), (88, 92, 84), (62, 56, 50)]))
    tones = np.repeat(random.uniform(-0.2, 0.12, (1, 64)), 11, axis=1)[:, :704].astype(np.float32)
    relief = np.repeat(tones, 150, axis=0) + 0.12 * noise(random, 150, 704, 60, octaves=5)
    relief[:, ::11] -= 0.4
    relief[[20, 21, 120, 121]] -= 0.2
    return Texture(tint((int(color[0]), int(color[1]), int(color[2])), relief), meters=(8.0, 1.7))
