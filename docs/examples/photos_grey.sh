hadis-lightly-train data.path=my_photos n_clusters=12 data.num_channels=1 \
    'views.mean=[0.5]' 'views.std=[0.25]' \
    views.cj_hue=0 views.cj_sat=0 views.random_gray_scale=0
