hadis-lightly-train data.path=my_photos n_clusters=12 \
    model.train=all model.weights=null views.input_size=128 loader.num_workers=8
