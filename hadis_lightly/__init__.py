"""HaDis deep clustering for lightly: images without labels in, clusters out.

The rooms are imported one by one (``from hadis_lightly.loss import HaDisLoss``); this
module itself imports nothing, so that ``import hadis_lightly`` costs next to nothing.
"""

__version__ = "0.1.0"
