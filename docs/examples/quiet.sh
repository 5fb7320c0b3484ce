hadis-lightly-train data.path=my_photos n_clusters=12 quiet=true
hadis-lightly-train data.path=my_photos n_clusters=12 trainer.progress_bar=false
