hadis-lightly-train data.path=my_photos n_clusters=12 \
    model.train=all model.weights=null data.limit=500 trainer.max_epochs=2
