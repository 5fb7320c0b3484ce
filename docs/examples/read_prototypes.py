"""What PrototypeKMeans has found, after a training of one's own."""


def main(model):
    prototypes = model.prototypes
    print(prototypes.scores_)  # {"nmi": ..., "acc": ..., "ari": ...}
    print(prototypes.labels_)  # cluster of each image, in the order of the plain loader
    print(prototypes.prototypes_.shape)  # (10, 256)
    return prototypes
