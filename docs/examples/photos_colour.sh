hadis-lightly-train data.path=my_photos n_clusters=12 \
    views.cj_hue=0 views.cj_sat=0.1 views.random_gray_scale=0
