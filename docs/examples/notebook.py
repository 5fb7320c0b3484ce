"""A folder of photos in a notebook: cluster, look, predict, keep."""

from hadis_lightly import ImageClusterer


def main(folder, new, n_clusters=12, **more):
    clusterer = ImageClusterer(n_clusters=n_clusters, **more)
    clusterer.fit(folder)  # a folder, paths, a uint8 array, PIL images, a data set
    for file, label in zip(clusterer.keys_, clusterer.labels_, strict=True):
        print(file, label)
    print(clusterer.scores_, clusterer.embeddings_.shape)
    labels = clusterer.predict(new)  # as many kinds of images as fit takes
    clusterer.save("photos.ckpt")  # for ImageClusterer.load, in any process
    return clusterer, labels  # a notebook shows the clusters of the first


if __name__ == "__main__":
    main("my_photos", "new_photos")
