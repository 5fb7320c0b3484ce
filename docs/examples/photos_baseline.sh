hadis-lightly-train data.path=my_photos n_clusters=12 output_dir=runs/baseline \
    model.train=nothing
