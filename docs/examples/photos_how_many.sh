hadis-lightly-train --multirun n_clusters=5,10,20 data.path=my_photos
