"""A run as the embedder of Lightly Studio, and its clusters as tags."""

import lightly_studio as ls

from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.formats import add_to_lightly_studio, images_of_run
from hadis_lightly.prediction import StudioEmbedder

ls.register_default_embedder(StudioEmbedder("runs/photos"))
dataset = ls.ImageDataset.create("photos")
dataset.add_images_from_path("photos")

run = load_run("runs/photos")
add_to_lightly_studio(images_of_run(run, names="names.json"), dataset)
ls.start_gui()
