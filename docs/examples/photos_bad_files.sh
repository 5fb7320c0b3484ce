hadis-lightly-train data.path=my_photos n_clusters=12 data.on_error=skip
