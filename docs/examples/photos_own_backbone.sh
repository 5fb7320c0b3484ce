hadis-lightly-train data.path=my_photos n_clusters=12 \
    model.backbone=convnext_tiny views.input_size=160
