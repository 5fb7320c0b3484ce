hadis-lightly-train data.path=my_photos n_clusters=12 output_dir=runs/propos \
    model.hsd_weight=0
hadis-lightly-figures run='[runs/photos,runs/propos]' out=figures_compared/
