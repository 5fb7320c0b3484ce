hadis-lightly-train data.path=my_photos n_clusters=12 views.input_size=96 \
    model.backbone=convnext_tiny model.weights=convnext_tiny.pth
