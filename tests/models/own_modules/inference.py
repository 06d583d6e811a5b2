"""Ships modules with everyday names, those of polyhost's folders, and must get its own."""

from helpers import words

import container
import handlers


def model_fn(model_dir):
    return words.JOINER.join([container.NAME, handlers.NAME])


def transform_fn(model, body, content_type, accept):
    return model, "text/plain"
