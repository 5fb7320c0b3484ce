hadis-lightly-train data.path=my_photos n_clusters=12 \
    model.train=all model.backbone=resnet18 views.input_size=96
hadis-lightly-train data.path=my_photos n_clusters=12 model.train=all model.weights=null
