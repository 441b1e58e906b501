"""Pillow: an ImageField of Django's own that keeps width and height in columns."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage
from django.db import migrations, models

from safefield.operations import AddFieldWithBackfill
from tests.packages import films
from tests.support.history import History

films.require("PIL")


# Fails if Django's own attribute is taken for one that sets a single column.
def test_size_of_an_image(tmp_path: Path, alias: str) -> None:
    from PIL import Image

    storage = FileSystemStorage(tmp_path)
    for number in range(1, 4):
        file = io.BytesIO()
        Image.new("L", (number, number * 2)).save(file, "PNG")
        (tmp_path / f"{number}.png").write_bytes(file.getvalue())
    size: Any = models.IntegerField(null=True)
    history = History(alias)
    key = ("id", models.BigAutoField(primary_key=True))
    history.apply(
        migrations.CreateModel("Still", [key, ("width", size), ("height", size)])
    )
    for _ in range(3):
        history.rows("Still").create()

    history.apply(
        AddFieldWithBackfill(
            "still",
            "image",
            models.ImageField(
                storage=storage, width_field="width", height_field="height"
            ),
            lambda still: f"{still.pk}.png",
        )
    )

    filled = list(history.rows("Still").values_list("image", "width", "height"))
    for still in history.rows("Still"):
        still.width = still.height = None
        still.image = f"{still.pk}.png"
        still.save()
    saved = list(history.rows("Still").values_list("image", "width", "height"))
    assert filled == saved
    assert filled == [("1.png", 1, 2), ("2.png", 2, 4), ("3.png", 3, 6)]
