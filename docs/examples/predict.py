"""Which cluster new images belong to, in Python."""

import sys

from hadis_lightly.prediction import ClusterPredictor


def main(run, *files):
    predictor = ClusterPredictor.from_checkpoint(run)  # a folder of a run, or a .ckpt
    found = predictor.predict(files, batch_size=64)  # paths, PIL images or arrays
    for file, label, share in zip(files, found.labels, found.confidence, strict=True):
        print(f"{file}: cluster {label}, confidence {share:.2f}")
    return found  # labels, confidence, distance, embeddings


if __name__ == "__main__":
    main(*sys.argv[1:])  # runs/photos new_photos/a.jpg new_photos/b.jpg
