hadis-lightly-train data.path=my_photos n_clusters=26 views.hf_prob=0 views.min_scale=0.6
