import sys

import numpy as np

from hadis_lightly.cluster import choose_n_clusters


def main(path, low=2, high=40):
    embeddings = np.load(path)  # (n, d), for instance embeddings.npy of a run
    choice = choose_n_clusters(embeddings, (low, high), random_state=0)
    print(choice.describe())
    for signs in choice.curve:
        score = choice.scores[signs.n_clusters]
        print(f"{signs.n_clusters:3d}  {signs.stability:.2f}  {score:.3f}")
    return choice


if __name__ == "__main__":
    main(sys.argv[1])
