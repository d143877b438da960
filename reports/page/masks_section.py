"""The viewer of masks in the page: its data and its photographs, inside the page or beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from reports.masks.shown import Masks
from reports.page.render import Embedding
from reports.shown import shown_within


def masks_data(
    masks: Sequence[Masks], labels: Sequence[str], model_pages: Mapping[int, str], embedding: Embedding
) -> Markup:
    """Give the elements that hand its data to the viewer; "" without any.

    labels: of all rows of the page
    model_pages: links by row, relative to the page
    """
    if not masks:
        return Markup("")
    photographs = {path.name: embedding.as_it_is(path) for part in masks for path in part.photographs}
    pictures = {"photographs": photographs, "pages": model_pages, "labels": dict(enumerate(shown_within(labels)))}
    text = json.dumps(pictures, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    scripts = [f"<script>self.maskbenchPictures = {text};</script>"]
    for part in masks:
        if embedding.split:
            scripts.append(f'<script src="{escape(embedding.as_it_is(part.script))}"></script>')
        else:
            scripts.append(f"<script>{part.script.read_text(encoding='utf-8')}</script>")
    return Markup("\n".join(scripts))
