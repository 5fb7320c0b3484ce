hadis-lightly-train data.path=my_photos n_clusters=4 model.weights=resnet18.pth \
    loader.batch_size=16 trainer.max_epochs=300
