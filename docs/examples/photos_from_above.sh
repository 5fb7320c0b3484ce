hadis-lightly-train data.path=my_photos n_clusters=12 views.vf_prob=0.5
