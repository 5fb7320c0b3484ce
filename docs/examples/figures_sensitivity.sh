hadis-lightly-train --multirun model.pcl_weight=0.01,0.05,0.1,0.5 data.path=my_photos \
    n_clusters=12
